"""The tables of a job of CryoSPARC as they lie in its folder, or in a group that was exported: which, and of what.

They are told apart by their names and their columns, not by `job.json`, which the server writes when it likes and
differently by version. Names are "J42_003_volume.cs" (output "volume", iteration 3), "J42_volume.cs",
"J42_passthrough_particles.cs"; before version 4 they began "cryosparc_P3_J42_", or "P3_J42_"; exported ones end in
"_exported".
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.jobfile import parse_text
from cryobridge.schemas.plain_file import read_bounded

from ...formats.cs_table import TableHead, read_head

EXAMPLE = "/data/CS-project/J42"
MAX_TABLES = 10_000
MAX_GROUP_BYTES = 1_000_000
_NAME = re.compile(r"(?:cryosparc_)?(?:P\d+_)?J\d+_(passthrough_)?(.+?)(?:_exported)?")
_ITERATION = re.compile(r"(?:^|_)(\d{3,9})(?=_|$)")


@dataclass(frozen=True)
class JobTable:
    """One table.

    Attributes
    ----------
    output
        Name of the output that it is of, as far as the file's name tells.
    iteration
        Infinite where there is none in the name: such a table is written at the end.
    is_passed
        Whether it holds what the job only passed through.
    """

    path: Path
    output: str
    iteration: float
    is_passed: bool
    head: TableHead

    def has(self, slot: str) -> bool:
        """Whether it has columns of a slot."""
        return any(name.startswith(f"{slot}/") for name in self.head.columns)


@dataclass(frozen=True)
class DamagedTable:
    """A table that cannot be read, and why: a sentence."""

    output: str
    iteration: float
    problem: str


@dataclass(frozen=True)
class JobTables:
    """The tables of a folder: those that can be read, and the others."""

    folder: Path
    tables: Sequence[JobTable]
    damaged: Sequence[DamagedTable]

    def own(self) -> list[JobTable]:
        """Those of the job itself."""
        return [table for table in self.tables if not table.is_passed]

    def passed(self) -> list[JobTable]:
        """Those of what it passed through."""
        return [table for table in self.tables if table.is_passed]

    def damaged_after(self, table: JobTable) -> list[str]:
        """What is wrong with tables of the same output and later iterations."""
        return [one.problem for one in self.damaged if one.output == table.output and one.iteration > table.iteration]


def tables_of(place: Path) -> JobTables:
    """Look what tables there are.

    Parameters
    ----------
    place
        Folder of a job, or of an exported group; or one table in it (`.cs`), or one exported group (`.csg`).

    Raises
    ------
    InputInvalid
        If it is none of these, or holds no table that can be read.
    """
    suffix = place.suffix.lower()
    if place.is_dir():
        folder, paths = place, sorted(_tables_in(place))
    elif suffix == ".csg":
        folder, paths = place.parent, _tables_of_group(place)
    elif suffix == ".cs":
        # What was passed through lies beside it, and is needed as well.
        beside = (path for path in _tables_in(place.parent) if path != place and _parsed(path)[2])
        folder, paths = place.parent, [place, *sorted(beside)]
    else:
        what = "is no folder" if place.exists() else "does not exist"
        raise InputInvalid(f"{place}: {what}; give the folder of a job of CryoSPARC, e.g. {EXAMPLE}")
    if not paths:
        raise InputInvalid(f"{place}: holds no tables (.cs); give the folder of a job of CryoSPARC that has finished")
    tables, damaged = [], []
    for path in paths:
        output, iteration, is_passed = _parsed(path)
        try:
            tables.append(JobTable(path, output, iteration, is_passed, read_head(path)))
        except InputInvalid as error:
            damaged.append(DamagedTable(output, iteration, str(error)))
    if not tables:
        raise InputInvalid(damaged[0].problem)
    return JobTables(folder, tables, damaged)


def _tables_in(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(".cs") and entry.name[0] != "."]
    except OSError as error:
        raise InputInvalid(f"{folder}: cannot be read: {error.strerror}; check its permissions") from error
    if len(names) > MAX_TABLES:
        raise InputInvalid(f"{folder}: holds {len(names)} tables (.cs); give the one that is meant instead")
    yield from (folder / name for name in names)


def _tables_of_group(path: Path) -> list[Path]:
    """The tables that an exported group names, which lie beside it."""
    try:
        group = parse_text(read_bounded(path, MAX_GROUP_BYTES, is_a="this is no group of CryoSPARC"), path.name)
        names = dict.fromkeys(str(result["metafile"]).removeprefix(">") for result in group["results"].values())
    except (KeyError, TypeError, AttributeError) as error:
        raise InputInvalid(f"{path}: is no group that CryoSPARC exported (.csg); export it again") from error
    for name in names:
        if not name.endswith(".cs") or "/" in name or not name.isprintable():
            raise InputInvalid(f"{path}: names {name[:80]!r}, which is no table beside it; export the group again")
    return [path.parent / name for name in names]


def _parsed(path: Path) -> tuple[str, float, bool]:
    """Output, iteration, and whether it was passed through, by the file's name."""
    stem = path.name.removesuffix(".cs")
    known = _NAME.fullmatch(stem)
    name = known[2] if known else stem
    number = _ITERATION.search(name)
    if number is None:
        return name, math.inf, bool(known and known[1])
    rest = (name[: number.start()] + name[number.end() :]).strip("_")
    return rest, int(number[1]), bool(known and known[1])
