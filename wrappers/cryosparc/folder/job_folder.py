"""A job's folder read without any server: its tables of the last iteration that is complete, and its maps.

Nothing is written into the folder. What the job itself put out goes before what it passed through. A path from a table
is never believed: what it leads to must lie in the project's folder, in the job's, or in one that the user allows.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cryobridge.schemas.errors import InputInvalid

from ...formats import mrc
from ...formats.cs_table import UID, Columns, joined, read_table, table_bytes
from ...formats.whole_file import whole_file, write_all
from ..card.inputs import Staged, wants
from ..card.project_files import path_inside
from ..options_block import MaskChoice
from ..recipes import MASK, OWN_MASKS, PARTICLES, VOLUME, CardRecipe, InputGroup
from .job_tables import JobTable, JobTables, tables_of

HANDED_ON = ("map_half_A", "map_half_B", *OWN_MASKS)
"""Slots of a refinement's volume that go with a result as they are, so that nobody measures a resolution on another."""
CLASSES = "alignments3D_multi"
_JOB = re.compile(r"[JS]\d{1,9}")
_MOST_LEVELS = 6


@dataclass
class FolderInputs(Staged):
    """Inputs of a job out of folders.

    Attributes
    ----------
    project
        The project's folder.
    handed_on
        Files of the volume that go with the result, by slot.
    """

    project: Path = Path()
    handed_on: dict[str, Path] = field(default_factory=dict)


class Incomplete(InputInvalid):
    """A table whose files are not there, or not whole: of an iteration that is being written, or was cleared away."""


@dataclass(frozen=True)
class Folders:
    """Where to look.

    Attributes
    ----------
    job
        Folder of the job, a table of it, or a group that was exported; for the volume, and the particles.
    others
        Such places for single inputs, by their names.
    also_read
        Folders outside of the project that links may lead to.
    """

    job: Path
    others: Mapping[str, Path] = field(default_factory=dict)
    also_read: Sequence[Path] = ()


def inputs_of_folders(recipe: CardRecipe, folders: Folders, use_mask: MaskChoice, work: Path) -> FolderInputs:
    """Find the inputs of a job in the folders of CryoSPARC's jobs.

    Parameters
    ----------
    work
        A folder of our own, made if a table has to be put together.

    Raises
    ------
    InputInvalid
        If a folder is none of a job's, or holds nothing that fits.
    """
    known = [group.name for group in recipe.inputs]
    for name in folders.others:
        if name not in known:
            raise InputInvalid(f"{recipe.kind} has no input '{name}'; it has {', '.join(known)}")
    if use_mask == "none" and MASK in folders.others:
        raise InputInvalid("a mask is given, and 'use_mask = none'; give one of the two")
    found = FolderInputs(project=project_of(folders.job if folders.job.is_dir() else folders.job.parent))
    search = _Search(found, folders, use_mask, work)
    # A mask that was given for itself goes before those that come with a volume.
    order = (MASK, VOLUME)
    for group in sorted(recipe.inputs, key=lambda one: order.index(one.name) if one.name in order else len(order)):
        search.take(group)
    if recipe.project is not None:
        found.paths[recipe.project[0]] = found.project
    if use_mask in OWN_MASKS and MASK not in folders.others and "mask" not in found.paths:
        raise InputInvalid(f"{folders.job}: its volume has no {use_mask}; choose another mask, or none")
    return found


def project_of(folder: Path) -> Path:
    """The project's folder that a job's or an exported group's lies in.

    Jobs lie in it directly, though links may lead to them; groups lie deeper, and `project.json` tells where it is.
    """
    here = folder.resolve() if ".." in folder.parts else folder.absolute()
    places = (here, folder.resolve())
    jobs = [one.parent for one in places if _JOB.fullmatch(one.name)]
    above = jobs or [level for one in places for level in (one, *one.parents)[:_MOST_LEVELS]]
    return next((one for one in above if (one / "project.json").is_file()), jobs[0] if jobs else here)


class _Search:
    """Looks for one input after the other."""

    def __init__(self, found: FolderInputs, folders: Folders, use_mask: MaskChoice, work: Path) -> None:
        self._found = found
        self._folders = folders
        self._use_mask = use_mask
        self._work = work
        self._tables: dict[Path, JobTables] = {}
        self._iteration = math.inf

    def take(self, group: InputGroup) -> None:
        """Take an input where it is to be found; one that is needed, or was given, must be there."""
        own = self._folders.others.get(group.name)
        # A refinement's own masks come with its volume; what else a kind may take is another job's.
        if own is None and group.name not in (VOLUME, PARTICLES):
            if group.required:
                raise InputInvalid(f"the input '{group.name}' ({group.title}) is missing; name the job's folder for it")
            return
        place = own or self._folders.job
        try:
            tables = self._tables_of(place)
            (self._take_particles if group.type == "particle" else self._take_volume)(group, tables, place)
        except InputInvalid as error:
            if group.required or own is not None:
                raise
            self._found.notes.append(f"{group.name}: none ({error})")

    def _tables_of(self, place: Path) -> JobTables:
        if place not in self._tables:
            self._tables[place] = tables_of(place)
        return self._tables[place]

    # ---- volumes and masks

    def _take_volume(self, group: InputGroup, tables: JobTables, place: Path) -> None:
        found, reach = self._found, _Reach(tables.folder, self._folders.also_read)
        late: list[str] = []
        for table in _candidates(group, tables, place, by_path=True):
            reach.check(table.path)
            try:
                columns = _joined_volume(group, table, tables)
                paths = {slot: reach.volume(columns, slot, table.path) for slot, _ in self._wanted(group, columns)}
            except Incomplete as error:
                late.append(str(error))
                continue
            for slot, key in self._wanted(group, columns):
                found.paths[key] = paths[slot]
                found.notes.append(f"{key}: {paths[slot]}")
            found.uids[group.name] = columns[UID]
            if group.name == VOLUME:
                self._iteration = table.iteration
                found.handed_on = dict(reach.there(columns, HANDED_ON, table.path))
            self._say_what_is_newer(group, table, tables, late)
            return
        raise InputInvalid(late[0])

    def _wanted(self, group: InputGroup, columns: Columns) -> list[tuple[str, str]]:
        """Slots that are read and the inputs they are for, one for each input."""
        wanted: dict[str, str] = {}
        for slot, key in group.feeds:
            if f"{slot}/path" in columns and wants(slot, self._use_mask) and key not in self._found.paths:
                wanted.setdefault(key, slot)
        return [(slot, key) for key, slot in wanted.items()]

    # ---- particles

    def _take_particles(self, group: InputGroup, tables: JobTables, place: Path) -> None:
        key, reach = group.feeds[0][1], _Reach(tables.folder, self._folders.also_read)
        late: list[str] = []
        for table in _candidates(group, tables, place, by_path=False):
            # Poses that belong to the maps: a newer table may be of an iteration whose maps are not there.
            if place == self._folders.job and self._iteration < table.iteration < math.inf:
                continue
            try:
                columns, passed = _joined_particles(group, table, tables)
            except Incomplete as error:
                late.append(str(error))
                continue
            for one in (table.path, *passed):
                reach.check(one)
            path = self._written(key, columns) if passed else table.path
            self._found.paths[key] = path
            self._found.uids[group.name] = columns[UID]
            self._found.notes.append(f"{key}: {len(columns[UID])} of {table.path}")
            self._found.notes += [f"{key}: {', '.join(slots)} from {one}" for one, slots in passed.items()]
            self._say_what_is_newer(group, table, tables, late)
            return
        raise InputInvalid(late[0] if late else f"{place}: has no particles of the iteration that its maps are of")

    def _written(self, key: str, columns: Columns) -> Path:
        """A table that was put together, in a file whose name tells its content: another's is never replaced."""
        data = table_bytes(columns)
        path = self._work / f"{key}-{hashlib.sha256(data).hexdigest()[:12]}.cs"
        try:
            self._work.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                with whole_file(path) as descriptor:
                    write_all(descriptor, data, 0)
        except OSError as error:
            raise InputInvalid(f"{path}: cannot be written: {error.strerror}; give another output folder") from error
        return path

    def _say_what_is_newer(self, group: InputGroup, table: JobTable, tables: JobTables, late: Sequence[str]) -> None:
        newer = [*late, *tables.damaged_after(table)]
        if newer:
            self._found.notes.append(f"{group.name}: {table.path.name} is used; newer is not complete: {newer[0]}")


class _Reach:
    """Finds the files that a table names."""

    def __init__(self, folder: Path, also_read: Sequence[Path]) -> None:
        self._folder = folder
        self._project = project_of(folder)
        self._allowed = [Path(os.path.realpath(one)) for one in (self._project, folder, *also_read)]

    def volume(self, columns: Columns, slot: str, table: Path) -> Path:
        """The volume of a slot, which is there and whole.

        Raises
        ------
        Incomplete
            If it is not.
        InputInvalid
            If the path leads out of the project.
        """
        path = self._real(columns, slot, table)
        try:
            mrc.read_header(path)
        except InputInvalid as error:
            raise Incomplete(str(error)) from error
        return path

    def there(self, columns: Columns, slots: Sequence[str], table: Path) -> Iterator[tuple[str, Path]]:
        """Those slots that have a volume which can be read."""
        for slot in slots:
            if f"{slot}/path" in columns:
                try:
                    yield slot, self.volume(columns, slot, table)
                except InputInvalid:
                    continue

    def check(self, path: Path) -> Path:
        """Where a path really leads, which is a place that may be read; raises `OSError` where there is nothing."""
        real = Path(os.path.realpath(path, strict=True))
        if not any(real.is_relative_to(folder) for folder in self._allowed):
            raise InputInvalid(
                f"{path}: leads out of the project, to {real}; if that is right, allow it: --also-read {real.parent}"
            )
        return real

    def _real(self, columns: Columns, slot: str, table: Path) -> Path:
        column = columns[f"{slot}/path"]
        if column.dtype.kind != "U" or column.ndim != 1:
            raise InputInvalid(f"{table}: its column '{slot}/path' holds no paths; it is no table of CryoSPARC")
        named = str(column[0])
        relative = path_inside(named)
        # What was exported is named from the table's own folder on.
        bases = (self._folder, self._project) if named.startswith(">") else (self._project,)
        paths = [base / relative for base in bases]
        try:
            return self.check(next((one for one in paths if os.path.lexists(one)), paths[-1]))
        except OSError as error:
            raise Incomplete(f"{paths[-1]}: named by {table.name}, but cannot be found ({error.strerror})") from error


def _candidates(group: InputGroup, tables: JobTables, place: Path, *, by_path: bool) -> list[JobTable]:
    """Tables that may hold an input, the one that is taken first before the others.

    Raises
    ------
    InputInvalid
        If there is none, or it cannot be told which is meant.
    """
    needed = [slot.name for slot in group.slots if slot.required] or [slot.name for slot in group.slots]

    def has(table: JobTable, slot: str) -> bool:
        return f"{slot}/path" in table.head.columns if by_path else table.has(slot)

    def fits(table: JobTable) -> bool:
        others = [] if table.is_passed else tables.passed()
        has_all = all(has(table, slot) or any(has(other, slot) for other in others) for slot in needed)
        # The job's own table says which rows there are, even where all that is needed of them was passed through.
        is_own = table.output == group.name or any(other.output == table.output for other in others)
        return UID in table.head.columns and has_all and (is_own or any(has(table, slot.name) for slot in group.slots))

    fitting = [table for table in tables.own() if fits(table)] or [table for table in tables.passed() if fits(table)]
    if not fitting:
        raise InputInvalid(_why_none(group, tables, place, needed))

    def rank(table: JobTable) -> tuple[bool, float]:
        return table.output == group.name, table.iteration

    fitting.sort(key=rank, reverse=True)
    alike = [table.path.name for table in fitting if rank(table) == rank(fitting[0])]
    if len(alike) > 1:
        raise InputInvalid(
            f"{place}: {', '.join(alike[:8])} all fit '{group.name}'; give the one that is meant instead of the folder"
        )
    return fitting


def _why_none(group: InputGroup, tables: JobTables, place: Path, needed: Sequence[str]) -> str:
    there = sorted({name.partition("/")[0] for table in tables.tables for name in table.head.columns if "/" in name})
    lacks = [slot for slot in needed if not any(table.has(slot) for table in tables.tables)]
    classes = "; of a classification there are only alignments to each class" if CLASSES in there else ""
    trouble = f"; {tables.damaged[0].problem}" if tables.damaged else ""
    return (
        f"{place}: has no table with {', '.join(lacks or needed)} for '{group.name}' (there are "
        f"{', '.join(there[:12]) or 'none'}){classes}; give the folder of another job{trouble}"
    )


def _joined_volume(group: InputGroup, table: JobTable, tables: JobTables) -> Columns:
    """The one row of a volume or mask, with what was passed through of it."""
    slots = dict.fromkeys([*(slot.name for slot in group.slots), *(HANDED_ON if group.name == VOLUME else ())])
    columns, _ = _joined(table, tables, list(slots))
    rows = len(columns[UID])
    if rows != 1:
        raise Incomplete(f"{table.path}: holds {rows} volumes, not one; give a table of one volume, or another job")
    # What a job did not make has no path.
    columns = {name: column for name, column in columns.items() if not (name.endswith("/path") and _is_blank(column))}
    lost = [slot.name for slot in group.slots if slot.required and f"{slot.name}/path" not in columns]
    if lost:
        raise Incomplete(f"{table.path}: names no file for {lost[0]}; run the job again, or give another")
    return columns


def _is_blank(column: np.ndarray) -> bool:
    return column.dtype.kind == "U" and column.ndim == 1 and not str(column[0]).strip("> ")


def _joined_particles(group: InputGroup, table: JobTable, tables: JobTables) -> tuple[Columns, dict[Path, list[str]]]:
    slots = [slot.name for slot in group.slots]
    columns, passed = _joined(table, tables, [*slots, *([CLASSES] if "alignments3D" in slots else [])])
    lost = [slot.name for slot in group.slots if slot.required and not _has(columns, slot.name)]
    if lost:
        raise Incomplete(f"{table.path}: has no {lost[0]}, and neither has a passthrough table with all its rows")
    if len(columns[UID]) == 0:
        raise Incomplete(f"{table.path}: holds no particles")
    return columns, passed


def _joined(table: JobTable, tables: JobTables, slots: Sequence[str]) -> tuple[Columns, dict[Path, list[str]]]:
    """A table with slots that it lacks from what the job passed through, and which came from where."""
    columns = _read(table, slots)
    passed: dict[Path, list[str]] = {}
    # That of the same output first; another may hold rows that were rejected.
    for other in [] if table.is_passed else sorted(tables.passed(), key=lambda one: one.output != table.output):
        lacking = [slot for slot in slots if not _has(columns, slot) and other.has(slot)]
        if lacking:
            more = _read(other, lacking)
            if np.isin(columns[UID], more[UID]).all():
                columns = joined(columns, [more], str(table.path))
                passed[other.path] = lacking
    return columns, passed


def _read(table: JobTable, slots: Sequence[str]) -> Columns:
    try:
        columns = read_table(table.path, [f"{slot}/" for slot in slots])
    except InputInvalid as error:
        raise Incomplete(str(error)) from error
    if UID not in columns:
        raise Incomplete(f"{table.path}: has no column '{UID}'")
    return columns


def _has(columns: Columns, slot: str) -> bool:
    return any(name.startswith(f"{slot}/") for name in columns)
