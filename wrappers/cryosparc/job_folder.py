"""A job's folder read without any server: its tables of the last iteration, its maps, and a job made of them.

The tables are told apart by their columns, not by `job.json`, which the server writes when it likes and differently by
version. Nothing is written into the folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid

from ..formats.cs_table import Columns, joined, read_table
from .inputs import Staged
from .options_block import MaskChoice
from .recipes import MASK, OWN_MASKS, InputGroup, Recipe

_ITERATION = re.compile(r"_(\d{3,})_")
_PASSED = "_passthrough_"
_MOST_TABLES = 2000


@dataclass(frozen=True)
class _Table:
    path: Path
    iteration: int
    columns: Columns


def inputs_of_folders(
    recipe: Recipe, volume: Path | None, mask: Path | None, particles: Path | None, work: Path, use_mask: MaskChoice
) -> Staged:
    """Find the inputs of a job in the folders of CryoSPARC's jobs.

    Parameters
    ----------
    volume, mask, particles
        Folders to look in for each group; `volume` for all that have none of their own.
    work
        A folder of our own, for tables that are put together.

    Raises
    ------
    InputInvalid
        If a folder is none of a job's, or holds nothing that fits.
    """
    folders = {"mask": mask, "particles": particles}
    found = Staged()
    for group in sorted(recipe.inputs, key=lambda one: one.name != MASK):
        own = folders.get(group.name)
        folder = own or volume
        if folder is None:
            continue
        table = _best(group, _tables(folder))
        if table is None:
            if group.required or own is not None:
                wanted = ", ".join(slot.name for slot in group.slots if slot.required)
                raise InputInvalid(
                    f"{folder}: has no table with {wanted} for '{group.name}'; give another job's folder"
                )
            continue
        if group.name == MASK and own is None:
            # A refinement's own masks are chosen from its volume.
            continue
        _take(found, group, table, folder.resolve().parent, work, use_mask)
    return found


def _tables(folder: Path) -> list[_Table]:
    if not folder.is_dir():
        raise InputInvalid(f"{folder}: is no folder; give that of a job of CryoSPARC, e.g. /data/CS-project/J42")
    paths = sorted(folder.glob("*.cs"))
    if not paths:
        raise InputInvalid(f"{folder}: holds no tables (.cs); give the folder of a job of CryoSPARC that has finished")
    tables = []
    for path in paths[:_MOST_TABLES]:
        number = _ITERATION.search(path.name)
        tables.append((path, int(number[1]) if number else -1))
    return [_Table(path, number, _head(path)) for path, number in tables]


def _head(path: Path) -> Columns:
    """The columns of a table that tell what it is; those of particles are read when they are needed."""
    return read_table(path)


def _best(group: InputGroup, tables: list[_Table]) -> _Table | None:
    """The table of the last iteration that has what is needed; what was passed through counts last."""
    needed = [slot.name for slot in group.slots if slot.required]
    optional = [slot.name for slot in group.slots if not slot.required]
    fitting = [
        table
        for table in tables
        if all(any(name.startswith(f"{slot}/") for name in table.columns) for slot in needed or optional)
        and (group.type == "particle" or f"{(needed or optional)[0]}/path" in table.columns)
    ]
    return max(fitting, key=lambda one: (_PASSED not in one.path.name, one.iteration), default=None)


def _take(found: Staged, group: InputGroup, table: _Table, project: Path, work: Path, use_mask: MaskChoice) -> None:
    if group.type == "particle":
        key = group.feeds[0][1]
        passed = sorted(table.path.parent.glob(f"*{_PASSED}particles*.cs"))
        columns = (
            joined(table.columns, [read_table(one) for one in passed], str(table.path)) if passed else table.columns
        )
        from ..formats.cs_table import write_table

        write_table(work / f"{key}.cs", columns)
        found.paths[key] = work / f"{key}.cs"
        found.notes.append(f"{key}: {table.path}" + (f" with {len(passed)} passthrough tables" if passed else ""))
        return
    rows = len(table.columns["uid"])
    if rows != 1:
        raise InputInvalid(f"{table.path}: holds {rows} volumes; give the folder of a job with one")
    for slot, key in group.feeds:
        column = table.columns.get(f"{slot}/path")
        if column is None or key in found.paths or (slot in OWN_MASKS and use_mask not in ("auto", slot)):
            continue
        path = project / str(column[0]).removeprefix(">")
        if not path.is_file():
            raise InputInvalid(f"{path}: named by {table.path}, but there is no such file; is the project complete?")
        found.paths[key] = path
        found.notes.append(f"{key}: {path}")
