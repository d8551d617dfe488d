"""One table of a STAR file, of which single cells are changed while every other byte of the file stays.

Rows are lines, as `wrappers.formats.star_rows` reads them. A block of single items (`_label value`), as some programs
write a table of one row, is a table of one row here too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_plain

from ..formats.foreign import is_mrc, named_for_what_it_is
from ..formats.star_rows import Table, TakeRow, read_tables

MAX_TABLE_BYTES = 64 << 20
"""A table of a hundred thousand tomograms or subtomograms."""
NOTHING = "None"
"""What stands where a row has no value; IsoNet's word for it."""

_PLAIN = re.compile(r"[-+0-9A-Za-z.@/][^\s'\"#;]*")
_RESERVED = ("data_", "loop_", "save_", "stop_", "global_")
_CLOSING = {quote: re.compile(quote + r"(?=\s|\Z)") for quote in ('"', "'")}
_STAR = "a STAR file"


class Cell(NamedTuple):
    """One value: its line from 0 on, where it lies in the line with its quotes, and its text without them."""

    line: int
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class TableText:
    """A STAR file by its lines, and the table in it that somebody asked for.

    Attributes
    ----------
    name
        The file, for messages.
    lines
        All of them, with their ends.
    labels
        The columns, without the underscore.
    label_line
        The line of the last label of the table, from 0 on.
    rows
        (rows, columns) the cells.
    is_items
        Whether it is a block of single items: one row, a line for each label.
    """

    name: str
    lines: Sequence[bytes]
    labels: tuple[str, ...]
    label_line: int
    rows: tuple[tuple[Cell, ...], ...]
    is_items: bool = False

    def row(self, number: int) -> dict[str, str]:
        """The texts of a row, from 0 on, by label."""
        return {label: cell.text for label, cell in zip(self.labels, self.rows[number], strict=True)}

    def with_cells(self, values: Mapping[int, Mapping[str, str]]) -> bytes:
        """The whole file with some cells changed.

        Parameters
        ----------
        values
            Texts by row, from 0 on, and by label. A label that is no column becomes one, the last, in which the rows
            that are not named here hold `None`.

        Raises
        ------
        InputInvalid
            If a text cannot stand on one line.
        ValueError
            If there is no such row.
        """
        unknown = next((row for row in values if not 0 <= row < len(self.rows)), None)
        if unknown is not None:
            raise ValueError(f"{self.name}: has {len(self.rows)} rows; there is no row {unknown}")
        new = list(dict.fromkeys(label for row in values.values() for label in row if label not in self.labels))
        lines = list(self.lines)
        for number, cells in enumerate(self.rows):
            wanted = values.get(number, {})
            for label, cell in reversed(list(zip(self.labels, cells, strict=True))):
                if label in wanted and wanted[label] != cell.text:
                    line, text = lines[cell.line], self._encoded(label, wanted[label])
                    lines[cell.line] = line[: cell.start] + text + line[cell.end :]
            added = [self._encoded(label, wanted.get(label, NOTHING)) for label in new]
            if added and not self.is_items:
                lines[cells[-1].line] = _appended(lines[cells[-1].line], self.lines, cells, added)
            elif added:
                new_lines = [f"_{label} ".encode() + text for label, text in zip(new, added, strict=True)]
                lines[self.label_line] = _followed(lines[self.label_line], new_lines)
        if new and not self.is_items:
            first = len(self.labels) + 1
            new_lines = [f"_{label} #{number}".encode() for number, label in enumerate(new, first)]
            lines[self.label_line] = _followed(lines[self.label_line], new_lines)
        return b"".join(lines)

    def _encoded(self, label: str, text: str) -> bytes:
        return cell_text(text, f"{self.name}: '{label}'").encode("utf-8", "surrogateescape")


def read_table_text(path: Path, rank: Callable[[Collection[str]], int], wanted: str) -> TableText:
    """Read a STAR file and find the table that is wanted.

    Parameters
    ----------
    rank
        How well a table of such labels fits; 0 if not at all. The best is taken.
    wanted
        What it is called in messages, e.g. "a table of tomograms".

    Raises
    ------
    InputInvalid
        If it cannot be read, is no STAR file, or holds no such table, none with rows, or several.
    """
    try:
        raw = read_plain(path, MAX_TABLE_BYTES)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror}; give {wanted} (STAR)") from error
    return parse_table_text(raw, str(path), rank, wanted)


def parse_table_text(raw: bytes, name: str, rank: Callable[[Collection[str]], int], wanted: str) -> TableText:
    """Find the table that is wanted in STAR text; see `read_table_text`."""
    if not raw.strip():
        raise InputInvalid(f"{name}: is empty; it was cut off, copy or write it again")
    if is_mrc(raw[:1024]):
        raise InputInvalid(f"{name}: is an MRC file, not {wanted}; give the table (STAR)")
    if b"\0" in raw:
        raise InputInvalid(f"{name}: holds zero bytes; it is no STAR file, or was damaged when a disk was full")
    found = _FoundTables(name, raw.splitlines(keepends=True))
    read_tables(found.counted(), name, found.begin, found.item)
    ranked = [(rank(table.labels), table) for table in found.tables]
    best = max((value for value, _ in ranked), default=0)
    if best == 0:
        stranger = named_for_what_it_is(raw[:1024], name, _STAR)
        if stranger is not None and not found.tables:
            raise InputInvalid(stranger)
        raise InputInvalid(f"{name}: holds no {wanted.removeprefix('a ')}; give one, as prepare_star writes it")
    candidates = [table for value, table in ranked if value == best]
    if len(candidates) > 1:
        raise InputInvalid(f"{name}: holds {len(candidates)} tables that could be meant; give {wanted} alone")
    table = candidates[0]
    twice = next((label for label in table.labels if table.labels.count(label) > 1), None)
    if twice is not None:
        raise InputInvalid(f"{name}: has the column '{twice}' twice; remove one of them")
    if not table.rows:
        raise InputInvalid(f"{name}: its table has no rows; it was cut off, or written of an empty folder")
    rows = tuple(map(tuple, table.rows))
    return TableText(name, found.lines, tuple(table.labels), table.label_line, rows, table.is_items)


def cell_text(text: str, name: str = "a value") -> str:
    """A text as it stands in a row, in quotes where it must be.

    Raises
    ------
    InputInvalid
        If it has a line's end in it, or quotes of both sorts before blanks.
    """
    if _PLAIN.fullmatch(text) and not text.lower().startswith(_RESERVED):
        return text
    if not any(ord(character) < 32 and character != "\t" for character in text):
        for quote, closing in _CLOSING.items():
            if not closing.search(text):
                return f"{quote}{text}{quote}"
    raise InputInvalid(f"{name}: {os.fsencode(text)!r} cannot be written on one line of a STAR file; rename the file")


class _TableLines:
    """A table while it is read."""

    def __init__(self, labels: list[str], label_line: int, *, is_items: bool) -> None:
        self.labels = labels
        self.label_line = label_line
        self.is_items = is_items
        self.rows: list[list[Cell]] = []


class _FoundTables:
    """All tables of a file with the places of their cells."""

    def __init__(self, name: str, lines: list[bytes]) -> None:
        self._name = name
        self.lines = lines
        self._at = -1
        self._items: dict[str, _TableLines] = {}
        self.tables: list[_TableLines] = []

    def counted(self) -> Iterator[bytes]:
        """The lines without their ends; which of them is being read is kept."""
        for at, line in enumerate(self.lines):
            self._at = at
            yield line.rstrip(b"\r\n")

    def begin(self, table: Table) -> TakeRow:
        """Take the rows of a table."""
        # Called at the first row; of a table without one nothing is changed.
        label_line = next((at for at in range(self._at - 1, -1, -1) if self.lines[at].lstrip().startswith(b"_")), 0)
        found = _TableLines(list(table.names), label_line, is_items=False)
        self.tables.append(found)

        def take(number: int, values: Sequence[bytes]) -> None:
            found.rows.append(self._cells(number - 1, values, 0))

        return take

    def item(self, block: str, label: str, value: bytes) -> None:
        """Take a single item as a cell of its block's one row."""
        found = self._items.get(block)
        if found is None:
            found = self._items[block] = _TableLines([], 0, is_items=True)
            found.rows.append([])
            self.tables.append(found)
        line = self.lines[self._at]
        after = len(line) - len(line.lstrip()) + 1 + len(label.encode("latin-1"))
        found.rows[0] += self._cells(self._at, [value], after)
        found.labels.append(label)
        found.label_line = self._at

    def _cells(self, at: int, values: Sequence[bytes], start: int) -> list[Cell]:
        """Where the values of a line lie in it."""
        cells, line = [], self.lines[at]
        for value in values:
            start = len(line) - len(line[start:].lstrip())
            is_bare = bool(value) and line.startswith(value, start) and line[start + len(value) :][:1].isspace()
            is_last = bool(value) and line[start:] == value
            length = len(value) + (0 if is_bare or is_last else 2)
            cells.append(Cell(at, start, start + length, value.decode("utf-8", "surrogateescape")))
            start += length
        return cells


def _appended(line: bytes, original: Sequence[bytes], cells: Sequence[Cell], added: Sequence[bytes]) -> bytes:
    """A row with more values after its last one, before whatever follows that."""
    last = cells[-1]
    rest = len(original[last.line]) - last.end
    end = len(line) - rest
    between = original[last.line][cells[-2].end : last.start] if len(cells) > 1 else b" "
    blank = b"\t" if between.startswith(b"\t") else b" "
    return line[:end] + b"".join(blank + text for text in added) + line[end:]


def _followed(line: bytes, new: Sequence[bytes]) -> bytes:
    """A line with new ones after it, which end as it does."""
    body = line.rstrip(b"\r\n")
    end = line[len(body) :] or b"\n"
    return body + end + b"".join(text + end for text in new)
