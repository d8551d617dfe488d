"""Files that say at which angles a tilt series was recorded, as their programs write them; no sign is changed here.

| file | of | angles |
|---|---|---|
| `.tlt`, `.rawtlt`, `_TLT.txt` | IMOD, AreTomo | the first number of each line |
| `.aln` | AreTomo | last column of the global table; an offset that `-TiltCor` found is in it already |
| `.xml` | Warp | `Angles`, of tilts that `UseTilt` keeps; Warp counts them the other way round than IMOD |
| `.mdoc` | SerialEM | `TiltAngle` of each section: of the stage, not refined |
| `.star` | RELION 5, a tilt series | `rlnTomoYTilt`, else `rlnTomoNominalStageTiltAngle` |
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_bounded

from ..formats.star_columns import read_columns

MAX_TILT_FILE_BYTES = 16 << 20
TILT_ENDINGS = (".xml", ".aln", ".tlt", ".star", ".rawtlt", ".mdoc")
"""Refined angles before those of the stage."""

TiltSource = Literal["tlt", "aln", "warp_xml", "mdoc", "relion_star"]
_YTILT, _STAGE = "rlnTomoYTilt", "rlnTomoNominalStageTiltAngle"
_DEFOCUS = ("rlnDefocusU", "rlnDefocusV")
_RELION = (_YTILT, _STAGE, *_DEFOCUS)
_UM_TO_A = 1e4


@dataclass(frozen=True)
class TiltRecord:
    """What a file says of its tilts.

    Attributes
    ----------
    source
        Which sort of file.
    angles_deg
        In the order and sign of the file.
    defocus_A
        Of each tilt, underfocus positive, where the file has it.
    remarks
        What a user must know of it.
    """

    source: TiltSource
    angles_deg: tuple[float, ...]
    defocus_A: tuple[float, ...] | None = None
    remarks: tuple[str, ...] = ()


def read_tilt_record(path: Path) -> TiltRecord:
    """Read a file of tilt angles, whichever it is, by its ending and else by how it begins.

    Raises
    ------
    InputInvalid
        If it cannot be read, holds no angles, or something in it is no number.
    """
    ending = path.suffix.lower()
    if ending == ".star":
        return _relion(path)
    text = read_bounded(path, MAX_TILT_FILE_BYTES, is_a="a list of tilt angles is a few lines")
    parse = _PARSERS.get(ending) or _by_content(text)
    record = parse(text, path)
    if not record.angles_deg:
        raise InputInvalid(f"{path}: holds no tilt angles; give a .tlt, .aln, .mdoc, Warp .xml or RELION .star")
    return record


def _by_content(text: str) -> Callable[[str, Path], TiltRecord]:
    start = text.lstrip()[:4096]
    if start.startswith("<"):
        return _warp
    if "[ZValue" in start or "[FrameSet" in start:
        return _serial_em
    return _aretomo if start.startswith("#") and "AreTomo" in start else _plain_list


def _plain_list(text: str, path: Path) -> TiltRecord:
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1)]
    words = [(number, found[0]) for number, found in lines if found and not found[0].startswith("#")]
    return TiltRecord("tlt", tuple(_number(word, path, f"line {number}") for number, word in words))


def _aretomo(text: str, path: Path) -> TiltRecord:
    angles: list[float] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            if "Local Alignment" in line:
                break
            continue
        words = line.split()
        if len(words) >= 10:
            angles.append(_number(words[-1], path, f"line {number}"))
        elif words:
            raise InputInvalid(f"{path}: line {number} has {len(words)} values, not 10; it is no .aln of AreTomo")
    return TiltRecord("aln", tuple(angles))


def _serial_em(text: str, path: Path) -> TiltRecord:
    """The sections of an .mdoc; a target defocus is negative there, in micrometres."""
    sections: list[dict[str, str]] = []
    for line in text.splitlines():
        if re.match(r"\s*\[(ZValue|FrameSet)\b", line):
            sections.append({})
        elif sections and "=" in line:
            key, _, value = line.partition("=")
            sections[-1].setdefault(key.strip(), value.strip())
    tilts = [section for section in sections if "TiltAngle" in section]
    angles = tuple(_number(section["TiltAngle"], path, "TiltAngle") for section in tilts)
    remarks = [f"{path.name}: its angles are those of the stage, as SerialEM wrote them"]
    defocus = None
    if tilts and all("TargetDefocus" in section for section in tilts):
        target_um = [_number(section["TargetDefocus"], path, "TargetDefocus") for section in tilts]
        defocus = tuple(-value * _UM_TO_A for value in target_um)
        remarks.append(f"{path.name}: its defocus is the target that was set, not measured")
    return TiltRecord("mdoc", angles, defocus, tuple(remarks))


def _warp(text: str, path: Path) -> TiltRecord:
    if "<!ENTITY" in text.upper() or "<!DOCTYPE" in text.upper():
        raise InputInvalid(f"{path}: declares entities, which no file of Warp does; give Warp's own")
    try:
        root = ElementTree.fromstring(text.encode())  # noqa: S314 - bounded, and without entities
    except ElementTree.ParseError as error:
        raise InputInvalid(f"{path}: is no whole XML ({error}); it was cut off, copy it again") from error
    angles = [_number(word, path, "Angles") for word in (root.findtext("Angles") or "").split()]
    used = [word.lower() == "true" for word in (root.findtext("UseTilt") or "").split()]
    used = used if len(used) == len(angles) else [True] * len(angles)
    defocus = _warp_defocus_A(root, len(angles), path)
    level = [root.get(name, "0") for name in ("LevelAngleX", "LevelAngleY")]
    remarks = []
    if any(_number(word, path, "LevelAngle") for word in level):
        remarks.append(f"{path.name}: was levelled by {level[0]}, {level[1]} degrees, which is not in its tilt angles")
    kept = [at for at, is_used in enumerate(used) if is_used]
    return TiltRecord(
        "warp_xml",
        tuple(angles[at] for at in kept),
        None if defocus is None else tuple(defocus[at] for at in kept),
        tuple(remarks),
    )


def _warp_defocus_A(root: ElementTree.Element, count: int, path: Path) -> list[float] | None:
    """The defocus of each tilt out of `GridCTF`, in micrometres there; nodes in the image plane are averaged."""
    found: dict[int, list[float]] = {}
    for node in root.findall("GridCTF/Node"):
        z, value = node.get("Z", "0"), node.get("Value", "")
        if z.isascii() and z.isdigit():
            found.setdefault(int(z), []).append(_number(value, path, "GridCTF"))
    if set(found) != set(range(count)):
        return None
    return [_UM_TO_A * sum(found[at]) / len(found[at]) for at in range(count)]


def _relion(path: Path) -> TiltRecord:
    blocks = read_columns(path, lambda label: label in _RELION)
    for columns in (block.columns for block in blocks.values()):
        label = next((label for label in (_YTILT, _STAGE) if label in columns), None)
        if label is None or not columns[label]:
            continue
        angles = tuple(_number(word, path, label) for word in columns[label])
        remarks = [] if label == _YTILT else [f"{path.name}: not aligned yet, its angles are those of the stage"]
        return TiltRecord("relion_star", angles, _relion_defocus_A(columns, path), tuple(remarks))
    raise InputInvalid(f"{path}: has neither '{_YTILT}' nor '{_STAGE}'; give the STAR file of one tilt series")


def _relion_defocus_A(columns: Mapping[str, Sequence[str]], path: Path) -> tuple[float, ...] | None:
    if not all(label in columns for label in _DEFOCUS):
        return None
    u, v = ([_number(word, path, label) for word in columns[label]] for label in _DEFOCUS)
    return tuple((one + other) / 2 for one, other in zip(u, v, strict=True))


def _number(word: str, path: Path, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputInvalid(f"{path}: '{word[:40]}' ({where}) is no number; mend it, or give another file")
    return value


_PARSERS: Mapping[str, Callable[[str, Path], TiltRecord]] = {
    ".aln": _aretomo,
    ".mdoc": _serial_em,
    ".xml": _warp,
    ".tlt": _plain_list,
    ".rawtlt": _plain_list,
}
