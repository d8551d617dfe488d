"""Which files belong to one tomogram, by their names: halves, tilt angles, masks, coordinates."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid

from .table_paths import root_of

TOMOGRAM_ENDINGS = (".mrc", ".rec", ".map", ".mrc.gz", ".rec.gz")
_HALF = re.compile(r"(?i)[_.-]?(?<![a-z])(?:even|evn|odd|half[-_]?[12])(?![a-z0-9])")
_MOST_FILES = 100_000


def files_in(folder: Path, endings: Sequence[str], pattern: str | None = None) -> list[Path]:
    """Files of a folder by their endings, whatever the case, or by a pattern such as `*_ali.tlt`; sorted by name.

    Raises
    ------
    InputInvalid
        If the folder cannot be read, or holds more files than any collection of tomograms.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise InputInvalid(f"{folder}: cannot be read: {error.strerror}; give a folder") from error
    if len(names) > _MOST_FILES:
        raise InputInvalid(f"{folder}: holds {len(names)} files; give a folder of tomograms alone")

    def wanted(name: str) -> bool:
        if name.startswith("."):
            return False
        return name.lower().endswith(tuple(endings)) if pattern is None else fnmatchcase(name, pattern)

    return [folder / name for name in names if wanted(name) and (folder / name).is_file()]


def series_name(path: Path) -> str:
    """The name of a tomogram without ending and without what says which half it is."""
    return _HALF.sub("", root_of(path)) or root_of(path)


def halves_of(even: Sequence[Path], odd: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Pairs of half tomograms, in the order of the even ones.

    Raises
    ------
    InputInvalid
        If one has no partner, or two may be it.
    """
    partners: dict[str, list[Path]] = {}
    for path in odd:
        partners.setdefault(series_name(path), []).append(path)
    pairs = []
    for path in even:
        found = partners.get(series_name(path), [])
        if len(found) != 1:
            many = "no odd half" if not found else f"{len(found)} odd halves"
            raise InputInvalid(f"{path}: has {many} of the same name; name both halves alike but for even and odd")
        pairs.append((path, found[0]))
    left = next((path for path in odd if path not in {one for _, one in pairs}), None)
    if left is not None:
        raise InputInvalid(f"{left}: has no even half of the same name; name both halves alike but for even and odd")
    if len({one for _, one in pairs}) < len(pairs):
        raise InputInvalid(f"{even[0].parent}: has two tomograms with one odd half; name them differently")
    return pairs


def matching_file(tomogram: Path, candidates: Iterable[Path]) -> Path | None:
    """The file whose name fits a tomogram's best: `TS_01.tlt` to `rec_TS_01.mrc`, `TS_01_mask.mrc` to `TS_01.rec`.

    One name must lie within the other, between other characters than letters and digits, so that `TS_1` does not fit
    `TS_10`. The longest common part is taken, then the earliest of the candidates.
    """
    names = {root_of(tomogram), series_name(tomogram)}
    best, length = None, 0
    for path in candidates:
        other = path.name.partition(".")[0] or path.name
        common = max((_common(name, other) for name in names), default=0)
        if common > length:
            best, length = path, common
    return best


def _common(name: str, other: str) -> int:
    short, long = sorted((name.partition(".")[0], other), key=len)
    if short and re.search(rf"(?<![0-9A-Za-z]){re.escape(short)}(?![0-9A-Za-z])", long):
        return len(short)
    return 0
