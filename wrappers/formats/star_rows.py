"""Tables of particles as RELION reads STAR: a row is a line, and values are what blanks separate.

No word is reserved within a row, so that a micrograph may be called `data_1.mrc`, `_a.mrc` or `#12.mrc`; the grammar of
CIF, which `star` holds RELION's small files to, knows better and deals values out over lines. A row whose number of
values is not the number of columns is an error, never the next row's beginning.

Rows are handed on one by one and none is kept, so a table takes no more memory than what is made of it.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cryobridge.schemas.errors import InputInvalid

TakeRow = Callable[[int, Sequence[bytes]], None]
"""Takes a row: the number of its line, from 1 on, and its values, one for each column."""
TakeItem = Callable[[str, str, bytes], None]
"""Takes a single item: its block, its label without the underscore, and its value."""
MAX_COLUMNS = 1024
"""RELION knows some 300 labels in all."""

_CLOSING = {quote: re.compile(quote + rb"(?=\s|\Z)") for quote in (b'"', b"'")}
"""A quote ends where a blank follows it."""
_VALUE = re.compile(rb"\S+")


@dataclass
class Table:
    """One table of a block: the names of its columns without the underscore."""

    block: str
    names: list[str] = field(default_factory=list)


def read_tables(
    lines: Iterable[bytes],
    name: str,
    begin: Callable[[Table], TakeRow | None],
    item: TakeItem | None = None,
) -> None:
    """Go through every table of a STAR text, in their order.

    Parameters
    ----------
    lines
        Of the whole file. A last line without its end counts if it is a whole row.
    name
        What to call it in messages.
    begin
        Called once for each table when its columns are known, even if it has no rows; gives what takes its rows, or
        None if nobody wants them.
    item
        Called for each single item outside of tables; they are passed over without it.

    Raises
    ------
    InputInvalid
        If a row holds more or fewer values than its table has columns; names the line.
    """
    block, in_rows, take = "", False, None
    loop: Table | None = None
    begun = False
    following = iter(lines)
    for number, line in enumerate(following, 1):
        if number == 1:
            # Editors of other systems put it before the first block.
            line = line.removeprefix(codecs.BOM_UTF8)
        words = line.split()
        if not words or words[0] == b"#":
            # As in RELION a blank line ends the rows, as far as what follows is not plainly another of them.
            in_rows = False
        elif loop is not None and not begun and _is_label(words):
            if len(loop.names) == MAX_COLUMNS:
                raise InputInvalid(f"{name}: has a table of more than {MAX_COLUMNS} columns; it is no STAR file")
            loop.names.append(words[0][1:].decode("latin-1"))
        elif loop is not None and loop.names and _is_row(words, len(loop.names), in_rows=in_rows):
            if not begun:
                take, begun = begin(loop), True
            in_rows = True
            values = _row(line, words, len(loop.names))
            if values is None:
                raise _ragged(line, len(loop.names), name, number, is_last=next(following, None) is None)
            if take is not None:
                take(number, values)
        elif words[0][:5].lower() in (b"data_", b"loop_") and (words[0][:5].lower() == b"data_" or len(words[0]) == 5):
            if loop is not None and not begun:
                begin(loop)
            is_block = words[0][:5].lower() == b"data_"
            block = words[0][5:].decode("latin-1") if is_block else block
            loop, in_rows, begun = (None if is_block else Table(block)), False, False
        elif item is not None and loop is None and words[0].startswith(b"_") and len(words) > 1:
            item(block, words[0][1:].decode("latin-1"), next(_values(line.split(None, 1)[1])))
    if loop is not None and not begun:
        begin(loop)


def _is_label(words: Sequence[bytes]) -> bool:
    return words[0].startswith(b"_") and (len(words) == 1 or words[1].startswith(b"#"))


def _is_row(words: Sequence[bytes], columns: int, *, in_rows: bool) -> bool:
    """Whether a line after a table's labels is one of its rows, or meant as one."""
    if in_rows:
        return not (columns > 1 and _begins_anew(words))
    if len(words) == columns:
        return not _begins_anew(words)
    return not words[0].lower().startswith((b"#", b"data_", b"loop_"))


def _begins_anew(words: Sequence[bytes]) -> bool:
    """Whether a line of these words begins a block or a table, where it is no value of a table of one column."""
    return len(words) == 1 and words[0].lower().startswith((b"data_", b"loop_"))


def _row(line: bytes, words: list[bytes], columns: int) -> list[bytes] | None:
    """The values of a row; None if they are not as many as the columns."""
    quoted = b'"' in line or b"'" in line
    if len(words) == columns and not quoted:
        return words
    values = list(_values(line)) if quoted else words
    if len(values) == columns:
        return values
    if len(words) == columns:
        return words
    comment = next((index for index, word in enumerate(values) if word.startswith(b"#")), len(values))
    return values[:columns] if comment == columns else None


def _ragged(line: bytes, columns: int, name: str, number: int, *, is_last: bool) -> InputInvalid:
    what = "it was cut off, copy it again" if is_last else "it was cut off or edited wrongly"
    count = sum(1 for _ in _values(line))
    shown = " ".join(line.decode("utf-8", "replace").split())[:60]
    return InputInvalid(
        f"{name}: is not a whole STAR file (line {number} holds {count} values for {columns} columns: "
        f"'{shown}'); {what}"
    )


def _values(line: bytes) -> Iterator[bytes]:
    """The values of a line, those in quotes whole."""
    at = 0
    open_for_good: set[bytes] = set()
    while (word := _VALUE.search(line, at)) is not None:
        at = word.start()
        quote = line[at : at + 1]
        # What was not closed once is not looked for again: a long line of quotes would take hours.
        if quote in _CLOSING and quote not in open_for_good:
            end = _CLOSING[quote].search(line, at + 1)
            if end is not None:
                yield line[at + 1 : end.start()]
                at = end.end()
                continue
            open_for_good.add(quote)
        yield word.group()
        at = word.end()
