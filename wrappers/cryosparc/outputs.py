"""A finished job as outputs of its card: volumes by path, each table checked before it is sent and read back after.

What is saved twice comes out the same, so that a process that was killed in the middle is simply gone on with.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryobridge.schemas.errors import BadResult, InputInvalid
from cryobridge.schemas.result import JobResult

from ..formats import mrc
from ..formats.cs_table import Columns
from .documents import Card
from .recipes import PARTICLES, OutputGroup, Recipe, Slot
from .server import Server

log = logging.getLogger(__name__)
_UID = "uid"


@dataclass(frozen=True)
class Placed:
    """A file of the result, and where it lies in the project."""

    local: Path
    path: str


def publish(
    server: Server,
    card: Card,
    recipe: Recipe,
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
        If a file is no volume, or an output lacks a column that the server asks for.
    """
    by_role = {record.role: placed[name] for name, record in result.outputs.items() if record.role and name in placed}
    for group in recipe.outputs:
        files = [(slot, by_role[role]) for slot, role in group.roles if role in by_role]
        if not files:
            continue
        still_wanted()
        passthrough = group.passthrough if group.passthrough in uids else None
        slots = [slot for slot, _ in files]
        server.add_output(card.id, group.name, group.type, slots, group.title, passthrough)
        columns = _volume_row(server, card, group, files, uids.get(passthrough or ""), result)
        _save(server, card, group.name, columns)
        yield f"output '{group.name}': {', '.join(f'{slot.name} {file.path}' for slot, file in files)}"


def wants(recipe: Recipe, result: JobResult) -> set[str]:
    """Names of the result's files that must lie in the project, since an output refers to them."""
    roles = {role for group in recipe.outputs for _, role in group.roles}
    return {name for name, record in result.outputs.items() if record.role in roles}


def _volume_row(
    server: Server,
    card: Card,
    group: OutputGroup,
    files: list[tuple[Slot, Placed]],
    uids: np.ndarray | None,
    result: JobResult,
) -> Columns:
    """The one row of a volume or mask output, with every column that the server asks for."""
    if group.name == PARTICLES:
        raise InputInvalid(f"{card.id}: particles are saved as a table, not as a volume")
    given: dict[str, object] = {}
    for slot, file in files:
        header = mrc.read_header(file.local)
        given[f"{slot.name}/path"] = file.path
        given[f"{slot.name}/shape"] = tuple(header.shape)
        given[f"{slot.name}/psize_A"] = header.voxel_size_A[0]
    fields = dict(server.output_fields(card.id, group.name))
    unknown = sorted(set(given) - set(fields))
    if unknown:
        raise InputInvalid(f"{card.id}: the server has no column '{unknown[0]}' in its output '{group.name}'")
    columns: Columns = {_UID: uids if uids is not None else np.array([_number(result, group.name)], np.uint64)}
    for name, dtype in fields.items():
        if name == _UID:
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


def _number(result: JobResult, output: str) -> np.uint64:
    """A row's id that is the same whenever the same result is saved."""
    digests = "".join(sorted(record.sha256 for record in result.outputs.values()))
    raw = hashlib.sha256(f"{digests} {output}".encode()).digest()
    return np.uint64(int.from_bytes(raw[:8], "little"))


def _save(server: Server, card: Card, name: str, columns: Columns) -> None:
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
    order = np.argsort(sent[_UID], kind="stable")
    kept_order = np.argsort(kept[_UID], kind="stable")
    for column, values in sent.items():
        if not _equal(values[order], kept[column][kept_order]):
            return f"column '{column}' differs"
    return None


def _equal(sent: np.ndarray, kept: np.ndarray) -> bool:
    try:
        return np.array_equal(sent, kept.astype(sent.dtype))
    except (TypeError, ValueError):
        return False
