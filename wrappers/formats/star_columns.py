"""The tables of a STAR file of particles by column, a row a line as RELION reads them; plain or packed.

Of a set of a million particles only the columns that somebody wants are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid

from .foreign import is_mrc, named_for_what_it_is
from .particle_star import TABLE
from .star import Block
from .star_rows import Table, TakeRow, read_tables
from .table_content import TableContent, opened_table

_NUMPY = b"\x93NUMPY"
_MAX_ITEMS = 10_000


def read_columns(path: Path, is_wanted: Callable[[str], bool]) -> Mapping[str, Block]:
    """Read columns of every table, by the name of its block; single items are a table of one row.

    Parameters
    ----------
    is_wanted
        Tells by its label (without the underscore) whether a column is kept.

    Raises
    ------
    InputInvalid
        If it cannot be read, is no STAR file, has a row of more or fewer values than its table has columns, a column
        twice, or two tables with wanted columns in one block.
    """
    with opened_table(path) as content:
        stranger = _stranger(content)
        found = _Columns(content.name, is_wanted)
        read_tables(content.lines(), content.name, found.begin, found.item)
    if stranger is not None and not found.blocks:
        raise InputInvalid(stranger)
    return {name: Block(content.name, name, columns=columns) for name, columns in found.blocks.items()}


def _stranger(content: TableContent) -> str | None:
    """What to say of a file without tables, if it is plainly something else; raises for what cannot be text."""
    if not content.head:
        raise InputInvalid(f"{content.name}: is empty; it was cut off, copy it again")
    if content.head.startswith(_NUMPY):
        raise InputInvalid(f"{content.name}: is a .cs of CryoSPARC or another numpy file; give a STAR file of RELION")
    if is_mrc(content.head):
        raise InputInvalid(f"{content.name}: is an MRC file of a map or of images, not {TABLE}; give the table")
    return named_for_what_it_is(content.head, content.name, TABLE)


class _Columns:
    """What was kept of the tables so far."""

    def __init__(self, name: str, is_wanted: Callable[[str], bool]) -> None:
        self._name = name
        self._is_wanted = is_wanted
        self._items = 0
        self._of_items: set[str] = set()
        self.blocks: dict[str, dict[str, list[str]]] = {}

    def begin(self, table: Table) -> TakeRow | None:
        """Make room for a table, and give what takes its rows if any of its columns is wanted."""
        if len(set(table.names)) < len(table.names):
            twice = next(name for name in table.names if table.names.count(name) > 1)
            raise InputInvalid(f"{self._name}: table '{table.block}' has the column '{twice}' twice; mend it")
        kept = [(at, label) for at, label in enumerate(table.names) if self._is_wanted(label)]
        columns = self.blocks.setdefault(table.block, {})
        if not kept:
            return None
        if columns:
            raise InputInvalid(f"{self._name}: block '{table.block}' has two tables of particles; give one of them")
        columns |= {label: [] for _, label in kept}
        takers = [(at, columns[label].append) for at, label in kept]

        def take(_: int, values: Sequence[bytes]) -> None:
            for at, append in takers:
                append(_text(values[at]))

        return take

    def item(self, block: str, label: str, value: bytes) -> None:
        """Keep a single item as the one row of its block's table."""
        if not self._is_wanted(label):
            return
        self._items += 1
        columns = self.blocks.setdefault(block, {})
        if self._items > _MAX_ITEMS or label in columns or (columns and block not in self._of_items):
            raise InputInvalid(f"{self._name}: block '{block}' has '{label}' twice, or beside a table; mend it")
        self._of_items.add(block)
        columns[label] = [_text(value)]


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        # Paths in old files may be in any 8-bit encoding; Latin-1 keeps their bytes apart and cannot fail.
        return value.decode("latin-1")
