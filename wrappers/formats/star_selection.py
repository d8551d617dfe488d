"""Some rows of a STAR file of particles, with everything else of the file as it stands: other tables, comments, texts.

What is kept is kept byte for byte, so that no column is lost that only another program knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from .star_rows import Table, TakeRow, read_tables
from .table_content import opened_table

IMAGE = "rlnImageName"
"""The column by which a table of particles is known."""


@dataclass(frozen=True)
class StarRows:
    """A STAR file by its lines, and which of them are particles.

    Attributes
    ----------
    name
        The file, for messages.
    lines
        All of them, with their ends.
    row_lines
        (N,) the line of each particle, from 0 on, in the order of the file.
    numbers
        (N,) the number of each image in its stack, from 0 on; -1 for a name without one.
    columns
        Names of the table's columns, without the underscore.
    """

    name: str
    lines: Sequence[bytes]
    row_lines: NDArray[np.int64]
    numbers: NDArray[np.int64]
    columns: Sequence[str]

    def __len__(self) -> int:
        """Number of particles, N."""
        return len(self.row_lines)


def read_star_rows(path: Path) -> StarRows:
    """Read a STAR file of particles.

    Raises
    ------
    InputInvalid
        If it cannot be read, is no STAR file, or holds no table of particles, or more than one.
    """
    with opened_table(path) as content:
        lines = list(content.lines(with_ends=True))
    found = _FoundRows(str(path))
    read_tables((line.rstrip(b"\r\n") for line in lines), str(path), found.begin)
    if found.columns is None:
        raise InputInvalid(f"{path}: has no table with '{IMAGE}'; give the particles that the run was trained on")
    return StarRows(
        str(path), lines, np.array(found.rows, np.int64), np.array(found.numbers, np.int64), tuple(found.columns)
    )


def star_of_rows(star: StarRows, rows: NDArray[np.int64], added: Mapping[str, Sequence[str]] | None = None) -> bytes:
    """The file with some of its particles, in its own order.

    Parameters
    ----------
    rows
        (K,) which particles, from 0 on, in any order.
    added
        Columns to add: the name without the underscore, and a text for each row of `rows`, without blanks.

    Raises
    ------
    InputInvalid
        If the table has a column that should be added.
    """
    twice = next((name for name in added or () if name in star.columns), None)
    if twice is not None:
        raise InputInvalid(f"{star.name}: has the column '{twice}' already; leave out 'with_latents'")
    order = np.argsort(rows, kind="stable")
    more = {
        int(star.row_lines[rows[at]]): b"".join(b" " + column[at].encode() for column in (added or {}).values())
        for at in order
    }
    first = int(star.row_lines[0]) if len(star) else len(star.lines)
    every = set(star.row_lines.tolist())
    parts: list[bytes] = []
    for at, line in enumerate(star.lines):
        if at == first:
            parts += [f"_{name} #{len(star.columns) + number}\n".encode() for number, name in enumerate(added or (), 1)]
        if at not in every:
            parts.append(line)
        elif at in more:
            body = line.rstrip(b"\r\n")
            parts.append((body.rstrip() if more[at] else body) + more[at] + line[len(body) :])
    return b"".join(parts)


class _FoundRows:
    """The table of particles, as far as it has been read."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.columns: list[str] | None = None
        self.rows: list[int] = []
        self.numbers: list[int] = []

    def begin(self, table: Table) -> TakeRow | None:
        """Take the rows of a table that has images."""
        if IMAGE not in table.names:
            return None
        if self.columns is not None:
            raise InputInvalid(f"{self._name}: has two tables of particles; give one of them")
        self.columns = list(table.names)
        at = table.names.index(IMAGE)

        def take(line: int, values: Sequence[bytes]) -> None:
            number = values[at].partition(b"@")[0]
            self.rows.append(line - 1)
            self.numbers.append(int(number) - 1 if b"@" in values[at] and number.isdigit() else -1)

        return take
