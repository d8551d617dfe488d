"""A finished job as outputs of its card: volumes by path, each table checked before it is sent and read back after.

What is saved twice comes out the same, so that a process that was killed in the middle is simply gone on with.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cryobridge.schemas.errors import BadResult, InputInvalid
from cryobridge.schemas.result import JobResult

from ...formats import mrc
from ...formats.cs_table import UID, Columns, read_table
from ..documents import Card
from ..recipes import CardRecipe, InputGroup, OutputGroup, Slot
from ..server import CryosparcServer
from .particle_rows import as_asked, checked_rows, slots_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Placed:
    """A file of the result, and where it lies in the project."""

    local: Path
    path: str


@dataclass(frozen=True)
class Planned:
    """An output that the result has files for, under the name that it gets."""

    group: OutputGroup
    files: tuple[tuple[Slot, Placed], ...]


def publish(
    server: CryosparcServer,
    card: Card,
    recipe: CardRecipe,
    result: JobResult,
    placed: Mapping[str, Placed],
    uids: Mapping[str, np.ndarray],
    still_wanted: Callable[[], None],
) -> Iterator[str]:
    """Save every output that the result has files for; yields a line about each.

    Parameters
    ----------
    placed
        Files of the result by name; those that go into an output lie in the project.
    uids
        Of the rows of each input.
    still_wanted
        Called before each output; raises where nobody wants it any more.

    Raises
    ------
    BadResult
        If what the server has afterwards is not what was sent.
    InputInvalid
        If a file is no volume or no table of particles, or an output lacks a column that the server asks for.
    """
    for one in planned(recipe, result, placed):
        group = one.group
        still_wanted()
        passthrough = group.passthrough if group.passthrough in uids else None
        inherited = uids.get(passthrough or "")
        if group.type == "particle":
            yield _save_particles(server, card, recipe, one, passthrough, inherited)
            continue
        slots = [slot for slot, _ in one.files]
        server.add_output(card.id, group.name, group.type, slots, group.title, passthrough)
        _save(server, card, group.name, _volume_row(server, card, one, inherited, result))
        yield f"output '{group.name}': {', '.join(f'{slot.name} {file.path}' for slot, file in one.files)}"


def planned(recipe: CardRecipe, result: JobResult, placed: Mapping[str, Placed]) -> list[Planned]:
    """The outputs that there will be, in their order; of files with numbers each is one."""
    by_role: dict[str, list[str]] = {}
    for name, record in result.outputs.items():
        if record.role and name in placed:
            by_role.setdefault(record.role, []).append(name)
    found = []
    for group in recipe.outputs:
        if group.numbered:
            [(slot, role)] = group.roles
            names = sorted(by_role.get(role, ()), key=_in_order)
            for name, label in zip(names, _labels(names, group.numbered), strict=True):
                one = replace(group, name=f"{group.name}_{label}", title=f"{group.title} {label}", numbered="")
                found.append(Planned(one, ((slot, placed[name]),)))
            continue
        files = tuple((slot, placed[by_role[role][0]]) for slot, role in group.roles if role in by_role)
        if files:
            found.append(Planned(group, files))
    return found


def row_id(result: JobResult, output: str) -> int:
    """The id of the one row of an output, the same whenever the same result is saved."""
    digests = "".join(sorted(record.sha256 for record in result.outputs.values()))
    return int.from_bytes(hashlib.sha256(f"{digests} {output}".encode()).digest()[:8], "little")


def _in_order(name: str) -> list[tuple[int, str]]:
    """A key by which sample_10 comes after sample_9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _labels(names: list[str], pattern: str) -> list[str]:
    """What tells files of a pattern apart, where that is fit for a name; else their numbers from 1 on."""
    before, _, after = pattern.partition("*")
    labels = [name.removeprefix(before).removesuffix(after) for name in names]
    if len(set(labels)) == len(labels) and all(re.fullmatch("[A-Za-z0-9_]+", label) for label in labels):
        return labels
    return [str(number) for number in range(1, len(names) + 1)]


def _save_particles(
    server: CryosparcServer,
    card: Card,
    recipe: CardRecipe,
    one: Planned,
    passthrough: str | None,
    known: np.ndarray | None,
) -> str:
    """Save a table of particles, whose other slots are those of the particles that were connected."""
    group, [(_, file)] = one.group, one.files
    table = f"{card.id}: {file.path}"
    columns = read_table(file.local)
    uids = checked_rows(columns, known, table)
    if set(columns) == {UID} and passthrough is not None:
        columns = _selected(server, card, recipe.input(passthrough), uids)
    slots = slots_of(columns, table)
    server.add_output(card.id, group.name, group.type, slots, group.title, passthrough)
    asked = dict(server.output_fields(card.id, group.name))
    _save(server, card, group.name, {UID: uids, **as_asked(columns, asked, table)})
    return f"output '{group.name}': {len(uids)} particles with {', '.join(slot.name for slot in slots)}"


def _selected(server: CryosparcServer, card: Card, source: InputGroup, uids: np.ndarray) -> Columns:
    """The first slot of some of the connected particles: an output without any slot of its own is refused."""
    columns = server.load_input(card.id, source.name, [source.slots[0].name])
    order = np.argsort(columns[UID], kind="stable")
    rows = order[np.searchsorted(columns[UID], uids, sorter=order)]
    return {name: values[rows] for name, values in columns.items()}


def _volume_row(
    server: CryosparcServer, card: Card, one: Planned, uids: np.ndarray | None, result: JobResult
) -> Columns:
    """The one row of a volume or mask output, with every column that the server asks for."""
    group = one.group
    given: dict[str, object] = {}
    for slot, file in one.files:
        header = mrc.read_header(file.local)
        given[f"{slot.name}/path"] = file.path
        given[f"{slot.name}/shape"] = tuple(header.shape)
        given[f"{slot.name}/psize_A"] = header.voxel_size_A[0]
    fields = dict(server.output_fields(card.id, group.name))
    unknown = sorted(set(given) - set(fields))
    if unknown:
        raise InputInvalid(f"{card.id}: the server has no column '{unknown[0]}' in its output '{group.name}'")
    columns: Columns = {UID: uids if uids is not None else np.array([row_id(result, group.name)], np.uint64)}
    for name, dtype in fields.items():
        if name == UID:
            continue
        if name not in given:
            raise InputInvalid(
                f"{card.id}: the server asks for a column '{name}' in the output '{group.name}', which cryobridge "
                "does not know; report it with the version of CryoSPARC"
            )
        columns[name] = _column(given[name], dtype, f"{card.id}: column '{name}' of the output '{group.name}'")
    return columns


def _column(value: object, dtype: str, what: str) -> np.ndarray:
    """One row; CryoSPARC's "O" is text."""
    if dtype.lstrip("<>|=") == "O":
        return np.array([value], dtype=object)
    try:
        wanted = np.dtype(dtype)
        column = np.array([value], dtype=wanted.base)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputInvalid(f"{what}: the server wants it as '{dtype[:40]}', which it cannot be ({error})") from error
    if column.shape[1:] != wanted.shape:
        raise InputInvalid(f"{what}: the server wants it as '{dtype[:40]}', and it is of the shape {column.shape[1:]}")
    return column


def _save(server: CryosparcServer, card: Card, name: str, columns: Columns) -> None:
    """Save a table and read it back: an upload that was cut off is an empty table, and no error."""
    for attempt in range(2):
        server.save_output(card.id, name, columns)
        difference = _difference(columns, server.load_output(card.id, name))
        if difference is None:
            return
        log.warning("%s: output '%s' as saved (try %d): %s", card.id, name, attempt + 1, difference)
    raise BadResult(f"{card.id}: the server did not keep the output '{name}' as it was sent ({difference})")


def _difference(sent: Columns, kept: Columns) -> str | None:
    for column, values in sent.items():
        if column not in kept:
            return f"column '{column}' is gone"
        if len(kept[column]) != len(values):
            return f"{len(kept[column])} rows for {len(values)}"
    order = np.argsort(sent[UID], kind="stable")
    kept_order = np.argsort(kept[UID], kind="stable")
    for column, values in sent.items():
        if not _equal(values[order], kept[column][kept_order]):
            return f"column '{column}' differs"
    return None


def _equal(sent: np.ndarray, kept: np.ndarray) -> bool:
    try:
        return np.array_equal(sent, kept.astype(sent.dtype))
    except (TypeError, ValueError):
        return False
