"""A table of particles that a job wrote, as an output: its slots, its rows, and what the server asks of each column."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cryobridge.schemas.errors import InputInvalid

from ...formats.cs_table import UID, Columns, slot_of
from ..recipes import Slot

_TYPES = ("blob", "ctf", "alignments2D", "alignments3D", "location", "components")
"""Slots of particles that are called as their type is."""
_COMPONENTS = {"component", "value"}
"""Fields of a number of a particle, as 3D Variability saves them: which component, and how much of it."""


def slots_of(columns: Columns, name: str) -> list[Slot]:
    """The slots of a table.

    Parameters
    ----------
    name
        What to call the table in messages.

    Raises
    ------
    InputInvalid
        If a column is in no slot, or a slot is of no type that particles have.
    """
    fields: dict[str, set[str]] = {}
    for column in columns:
        if column != UID:
            fields.setdefault(slot_of(column), set()).add(column.partition("/")[2])
    slots = []
    for slot, found in fields.items():
        if found == _COMPONENTS:
            slots.append(Slot(slot, "components"))
        elif slot in _TYPES and "" not in found:
            slots.append(Slot(slot, slot))
        else:
            raise InputInvalid(
                f"{name}: slot '{slot}' ({', '.join(sorted(found))}) is none that particles of CryoSPARC have; they "
                f"have {', '.join(_TYPES)}, and slots with the fields component and value"
            )
    return slots


def checked_rows(columns: Columns, known: np.ndarray | None, name: str) -> np.ndarray:
    """The ids of a table's rows.

    Parameters
    ----------
    known
        Ids of the particles that were connected, of which the rows must be some; None where none were.

    Raises
    ------
    InputInvalid
        If there are none, one is not among those that are known, or a number is none.
    """
    uids = columns.get(UID)
    if uids is None or len(uids) == 0:
        raise InputInvalid(f"{name}: holds no particles, so there is nothing to save")
    if known is not None:
        lost = int(np.count_nonzero(~np.isin(uids.astype(np.uint64), known.astype(np.uint64))))
        if lost:
            raise InputInvalid(f"{name}: {lost} of its {len(uids)} particles are none of those that were connected")
    for column, values in columns.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0][0])
            raise InputInvalid(f"{name}: '{column}' of row {row + 1} is {values[row]}, which is no number")
    return uids.astype(np.uint64)


def as_asked(columns: Columns, asked: Mapping[str, str], name: str) -> Columns:
    """A table's columns in the types that the server asks for, none missing and none too many.

    Raises
    ------
    InputInvalid
        If a column is missing, not asked for, of another width, or cannot be told in that type.
    """
    unknown = next((column for column in columns if column != UID and column not in asked), None)
    if unknown is not None:
        raise InputInvalid(f"{name}: the server has no column '{unknown}' in this output")
    found: Columns = {}
    for column, dtype in asked.items():
        if column == UID:
            continue
        if column not in columns:
            raise InputInvalid(f"{name}: lacks the column '{column}', which the server asks for")
        found[column] = _cast(columns[column], dtype, column, name)
    return found


def _cast(values: np.ndarray, dtype: str, column: str, name: str) -> np.ndarray:
    try:
        wanted = np.dtype(dtype)
    except TypeError as error:
        raise InputInvalid(
            f"{name}: the server asks for '{column}' as {dtype}, which cryobridge does not know"
        ) from error
    if wanted.kind == "O":
        return values.astype(object)
    if values.shape[1:] != wanted.shape or values.dtype.kind not in "biuf":
        raise InputInvalid(f"{name}: column '{column}' is not {dtype}, as the server asks for")
    with np.errstate(all="ignore"):
        cast = values.astype(wanted.base)
    whole = wanted.kind in "iu" or wanted.base.kind in "iu"
    bad = (cast != values) if whole else ~np.isfinite(cast)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise InputInvalid(f"{name}: '{column}' of row {row + 1} is {values[row]}, which is no {dtype}")
    return cast
