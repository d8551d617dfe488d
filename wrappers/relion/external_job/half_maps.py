"""The two half-maps that are meant when one file is named: in RELION's field for a reference there is room for one.

RELION's window offers the map of a refinement, its users know the file of half 1, and after a post-processing the
halves stand in its STAR file; all three lead to the same pair.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid

from ...formats import star

_HALF = re.compile(r"(half(?:[-_]?map)?[-_]?)([12AB])(?![A-Za-z0-9])")
_OTHER = {"1": "2", "2": "1", "A": "B", "B": "A"}
_JOINED = re.compile(r"(?P<root>.+)_class(?P<number>\d{3})\.mrc")
_OF_A_RUN = re.compile(r"(?P<root>.+?)(?:_it\d{3,})?_(?:half[12]_)?(?:model|optimiser|data)\.star")
_MAX_STAR_BYTES = 16 << 20


@dataclass(frozen=True)
class FoundPair:
    """Two half-maps, and the mask that was named with them, if any; paths as they were written."""

    half1: Path
    half2: Path
    mask: Path | None = None


def pair_of(named: Path, project: Path) -> FoundPair:
    """Find the half-maps that a file stands for.

    Parameters
    ----------
    named
        A half-map, the joined map of a refinement, `postprocess.star`, or `run_model.star` and its like.
    project
        Folder that relative names start at.

    Raises
    ------
    InputInvalid
        If it stands for none, or one of them is not there.
    """
    pair = _of_star(named, project) if named.suffix == ".star" else _of_map(named, project)
    for half in (pair.half1, pair.half2):
        if not (project / half).is_file():
            raise InputInvalid(
                f"{named}: its half-map {half} is not there; give a half-map, or both as half1 and half2"
            )
    return pair


def _of_map(named: Path, project: Path) -> FoundPair:
    found = list(_HALF.finditer(named.name))
    if found:
        at = found[-1]
        other = named.with_name(named.name[: at.start(2)] + _OTHER[at[2]] + named.name[at.end(2) :])
        first, second = (named, other) if at[2] in "1A" else (other, named)
        return FoundPair(first, second)
    joined = _JOINED.fullmatch(named.name)
    if joined:
        pair = _of_run(named, joined["root"], joined["number"])
        if (project / pair.half1).is_file():
            return pair
    raise InputInvalid(
        f"{named}: is no half-map by its name, and has none beside it; give e.g. run_half1_class001_unfil.mrc, or both "
        "as half1 and half2"
    )


def _of_star(named: Path, project: Path) -> FoundPair:
    of_a_run = _OF_A_RUN.fullmatch(named.name)
    if of_a_run:
        return _of_run(named, of_a_run["root"], "001")
    general = star.read(project / named, name=str(named), max_bytes=_MAX_STAR_BYTES).blocks.get("general")
    items = general.items if general is not None else {}
    halves = [items.get(f"rlnUnfilteredMapHalf{number}") for number in (1, 2)]
    if not halves[0] or not halves[1]:
        raise InputInvalid(
            f"{named}: names no half-maps; give a half-map, or the postprocess.star of a PostProcess job"
        )
    mask = items.get("rlnMaskName", "")
    return FoundPair(Path(halves[0]), Path(halves[1]), Path(mask) if mask not in ("", "None") else None)


def _of_run(beside: Path, root: str, number: str) -> FoundPair:
    halves = [beside.with_name(f"{root}_half{half}_class{number}_unfil.mrc") for half in (1, 2)]
    return FoundPair(halves[0], halves[1])
