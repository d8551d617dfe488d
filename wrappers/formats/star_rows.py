"""Tables of particles as RELION reads STAR: a row is a line, and values are what blanks separate.

No word is reserved within a row, so that a micrograph may be called `data_1.mrc`, `_a.mrc` or `#12.mrc`; the grammar of
CIF, which `star` holds RELION's small files to, knows better and deals values out over lines. A row whose number of
values is not the number of columns is an error, never the next row's beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cryobridge.schemas.errors import InputInvalid


@dataclass(frozen=True)
class Table:
    """One table of a block: the names of its columns without the underscore, and its rows, all of their number."""

    block: str
    names: Sequence[str]
    rows: Sequence[Sequence[str]]

    def column(self, name: str) -> list[str]:
        """The values of a column; raises `ValueError` where there is none of the name."""
        at = self.names.index(name)
        return [row[at] for row in self.rows]


@dataclass
class _Loop:
    """A table that is being read."""

    block: str
    names: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def tables(text: str, name: str) -> list[Table]:
    """Every table of a STAR text, in their order; single items are passed over.

    Parameters
    ----------
    text
        The whole file. A last line without its end counts if it is a whole row.
    name
        What to call it in messages.

    Raises
    ------
    InputInvalid
        If a row holds more or fewer values than its table has columns; names the line.
    """
    found: list[_Loop] = []
    block, in_rows = "", False
    loop: _Loop | None = None
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0] == "#":
            # As in RELION a blank line ends the rows, as far as what follows is not plainly another of them.
            in_rows = in_rows and loop is not None and _goes_on(lines, number, len(loop.names))
        elif loop is not None and not loop.rows and _is_label(words):
            loop.names.append(words[0][1:])
        elif loop is not None and loop.names and _is_row(words, len(loop.names), in_rows=in_rows):
            in_rows = True
            loop.rows.append(_row(line, words, len(loop.names), name, number, len(lines)))
        elif words[0].lower().startswith("data_"):
            block, loop, in_rows = words[0][len("data_") :], None, False
        elif words[0].lower() == "loop_":
            loop, in_rows = _Loop(block), False
            found.append(loop)
    return [Table(loop.block, loop.names, loop.rows) for loop in found]


def _goes_on(lines: Sequence[str], after: int, columns: int) -> bool:
    """Whether the next line with something in it is a row of so many columns."""
    for line in lines[after:]:
        words = line.split()
        if words and words[0] != "#":
            return len(words) == columns and not _begins_anew(words)
    return False


def _is_label(words: Sequence[str]) -> bool:
    return words[0].startswith("_") and (len(words) == 1 or words[1].startswith("#"))


def _is_row(words: Sequence[str], columns: int, *, in_rows: bool) -> bool:
    """Whether a line after a table's labels is one of its rows, or meant as one."""
    if in_rows:
        return not (columns > 1 and _begins_anew(words))
    if len(words) == columns:
        return not _begins_anew(words)
    return not words[0].lower().startswith(("#", "data_", "loop_"))


def _begins_anew(words: Sequence[str]) -> bool:
    """Whether a line of these words begins a block or a table, where it is no value of a table of one column."""
    return len(words) == 1 and words[0].lower().startswith(("data_", "loop_"))


def _row(line: str, words: list[str], columns: int, name: str, number: int, last: int) -> list[str]:
    quoted = '"' in line or "'" in line
    if len(words) == columns and not quoted:
        return words
    values = list(_values(line)) if quoted else words
    if len(values) == columns:
        return values
    if len(words) == columns:
        return words
    comment = next((index for index, word in enumerate(values) if word.startswith("#")), len(values))
    if comment == columns:
        return values[:columns]
    what = "it was cut off, copy it again" if number == last else "it was cut off or edited wrongly"
    raise InputInvalid(
        f"{name}: is not a whole STAR file (line {number} holds {len(values)} values for {columns} columns: "
        f"'{line.strip()[:60]}'); {what}"
    )


def _values(line: str) -> Iterator[str]:
    """The values of a line, those in quotes whole: a quote ends where a blank follows it."""
    rest = line.strip()
    while rest:
        quote = rest[0]
        if quote in "\"'":
            end = next(
                (at for at in range(1, len(rest)) if rest[at] == quote and rest[at + 1 : at + 2].strip() == ""), 0
            )
            if end:
                yield rest[1:end]
                rest = rest[end + 1 :].lstrip()
                continue
        word, *others = rest.split(None, 1)
        yield word
        rest = others[0] if others else ""
