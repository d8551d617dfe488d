"""CryoSPARC's `.cs` tables: numpy structured arrays, read within bounds and written whole; nothing is unpickled.

A job's output is its own table and, beside it, tables of what it passed through (`*_passthrough_*.cs`); they are joined
on the column "uid", whatever the order of their rows.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from .foreign import is_mrc, kind_of
from .numpy_header import MAGIC, parsed_numpy_header
from .table_content import TableContent, opened_table
from .whole_file import whole_file, write_all

Columns = dict[str, NDArray[np.generic]]
"""A table by column ("uid", "blob/path", ...), all of one length; texts are unicode."""

UID = "uid"
MAX_ROWS = 50_000_000
_COMPRESSED_MAGIC = b"\x95CSDAT"
_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class TableHead:
    """What a table says of itself before its first row: how many rows it has, and which columns."""

    rows: int
    columns: tuple[str, ...]


def read_head(path: Path) -> TableHead:
    """Read no more of a table than its header.

    Raises
    ------
    InputInvalid
        If it is no such table.
    """
    with opened_table(path) as content:
        rows, dtype = _header(content)
    return TableHead(rows, dtype.names or ())


def read_table(path: Path, wanted: Collection[str] | None = None) -> Columns:
    """Read a table.

    Parameters
    ----------
    path
        As `numpy.save` wrote it; gzip and bzip2 are unpacked.
    wanted
        Columns, or whole slots as "blob/"; all if None. Those that are not there are left out.

    Raises
    ------
    InputInvalid
        If it is no such table, cut off, damaged, or its ids are not its rows' own.
    """
    with opened_table(path) as content:
        rows, dtype = _header(content)
        names = [name for name in dtype.names or () if wanted is None or _is_wanted(name, wanted)]
        columns = _read_rows(content, rows, dtype, names)
    if UID in columns:
        columns[UID] = _checked_uids(columns[UID], path)
    return columns


def read_rows(path: Path) -> NDArray[np.void]:
    """Read a table as its file holds it, a structured array: texts stay bytes of the length that they have there.

    Raises
    ------
    InputInvalid
        If it is no such table, cut off or damaged.
    """
    with opened_table(path) as content:
        rows, dtype = _header(content)
        parts = [part.copy() for part in table_rows(content, rows, dtype)]
    return np.concatenate([np.zeros(0, dtype), *parts])


def rows_bytes(rows: NDArray[np.void]) -> bytes:
    """The file of a table that `read_rows` gave, or of some of its rows."""
    file = io.BytesIO()
    np.lib.format.write_array(file, rows, allow_pickle=False)
    return file.getvalue()


def write_table(path: str | os.PathLike[str], columns: Mapping[str, NDArray[np.generic]]) -> None:
    """Write a table (`table_bytes`), whole or not at all."""
    data = table_bytes(columns)
    with whole_file(path) as descriptor:
        write_all(descriptor, data, 0)


def table_bytes(columns: Mapping[str, NDArray[np.generic]]) -> bytes:
    """A table as its file holds it; texts become bytes of one length (UTF-8), as CryoSPARC has them.

    Raises
    ------
    ValueError
        If the columns are not of one length, or hold something else than numbers and texts.
    """
    arrays = {name: _storable(name, np.asarray(values)) for name, values in columns.items()}
    lengths = {len(values) for values in arrays.values()}
    if len(lengths) != 1:
        raise ValueError(f"columns of {len(lengths)} different lengths")
    dtype = np.dtype([(name, values.dtype, values.shape[1:]) for name, values in arrays.items()])
    table = np.zeros(lengths.pop(), dtype)
    for name, values in arrays.items():
        table[name] = values
    file = io.BytesIO()
    np.lib.format.write_array(file, table, allow_pickle=False)
    return file.getvalue()


def joined(own: Columns, passed: Sequence[Columns], name: str) -> Columns:
    """A table with the slots of others added, row by row after their uids.

    A slot ("alignments3D") of the job's own is taken whole: one whose columns came from two jobs would be of neither.

    Parameters
    ----------
    own
        The job's own table.
    passed
        Tables that it passed through.
    name
        What to call the result in messages.

    Raises
    ------
    InputInvalid
        If a table has no uids, lacks a row of the first, or says something else than another that was passed through.
    """
    result, of_own = dict(own), {slot_of(column) for column in own}
    for number, table in enumerate(passed, 1):
        if UID not in table or UID not in own:
            raise InputInvalid(f"{name}: a table without the column 'uid' cannot be joined; give CryoSPARC's own files")
        order = np.argsort(table[UID], kind="stable")
        at = np.searchsorted(table[UID], own[UID], sorter=order)
        found = order[np.minimum(at, len(order) - 1)] if len(order) else np.zeros(len(own[UID]), int)
        lost = len(own[UID]) if len(order) == 0 else int(np.count_nonzero(table[UID][found] != own[UID]))
        if lost:
            raise InputInvalid(
                f"{name}: {lost} of {len(own[UID])} rows are not in passthrough table {number}; give the passthrough "
                "file of the same job"
            )
        there = {slot_of(column) for column in result}
        for column, values in table.items():
            if slot_of(column) not in there:
                result[column] = values[found]
            elif slot_of(column) not in of_own and column in result:
                _expect_same(result[column], values[found], column, name, number)
    return result


def table_rows(content: TableContent, rows: int, dtype: np.dtype[np.void]) -> Iterator[NDArray[np.void]]:
    """The rows that follow a header, few at a time.

    Raises
    ------
    InputInvalid
        If there are more or fewer than it announced; at the end.
    """
    left, step = rows, max(1, _CHUNK_BYTES // dtype.itemsize)
    while left and (raw := content.read(min(left, step) * dtype.itemsize)):
        whole, cut = divmod(len(raw), dtype.itemsize)
        if cut:
            break
        yield np.frombuffer(raw, dtype, whole)
        left -= whole
    if left or content.read(1):
        raise InputInvalid(
            f"{content.name}: its header announces {rows} rows, which is not what it holds; it was cut off, copy it "
            "again"
        )


def _expect_same(known: NDArray[np.generic], passed: NDArray[np.generic], column: str, name: str, number: int) -> None:
    """Refuse a second table that contradicts a first: which of them is of the same job is not known here."""
    if known.shape == passed.shape and (known.dtype.kind == "U") == (passed.dtype.kind == "U"):
        with np.errstate(all="ignore"):
            same = known == passed
            # What is no number is not equal to itself.
            same |= (known != known) & (passed != passed)
        if same.all():
            return
    raise InputInvalid(
        f"{name}: column '{column}' of passthrough table {number} is not that of a passthrough table before it; give "
        "the one file of the same job"
    )


def slot_of(column: str) -> str:
    """The slot that a column belongs to, e.g. "ctf" of "ctf/df1_A"."""
    return column.partition("/")[0]


def _checked_uids(uids: NDArray[np.generic], path: Path) -> NDArray[np.generic]:
    """Ids as CryoSPARC has them, of 64 bits without sign: of two sorts they could not be compared exactly."""
    if uids.dtype.kind not in "iu" or uids.ndim != 1 or (uids.dtype.kind == "i" and bool((uids < np.int8(0)).any())):
        raise InputInvalid(f"{path}: column 'uid' is not one whole number a row; export the particles again")
    if len(np.unique(uids)) != len(uids):
        raise InputInvalid(f"{path}: two rows have the same 'uid'; export the particles again")
    return uids.astype(np.uint64)


def _header(content: TableContent) -> tuple[int, np.dtype[np.void]]:
    """How many rows there are, and what each holds."""
    if content.head.startswith(_COMPRESSED_MAGIC):
        raise InputInvalid(
            f"{content.name}: is a compressed .cs, which only cryosparc-tools can read; export the output in "
            "CryoSPARC, or save the table with numpy, and give that"
        )
    if not content.head.startswith(MAGIC):
        what = "an MRC file of a map or of images" if is_mrc(content.head) else kind_of(content.head)
        raise InputInvalid(f"{content.name}: is {what or 'no .cs of CryoSPARC'}; give the .cs of a job")
    try:
        header = parsed_numpy_header(lambda _, size: content.read(size))
    except ValueError as error:
        raise InputInvalid(f"{content.name}: its header is damaged ({error}); copy the .cs again") from error
    dtype = header.dtype
    if dtype is None or dtype.hasobject or dtype.names is None or len(header.shape) != 1:
        raise InputInvalid(f"{content.name}: is a numpy file but no table; give a .cs of CryoSPARC")
    if header.shape[0] > MAX_ROWS:
        raise InputInvalid(f"{content.name}: announces {header.shape[0]} rows; more than {MAX_ROWS} are not read")
    return header.shape[0], dtype


def _read_rows(content: TableContent, rows: int, dtype: np.dtype[np.void], names: Sequence[str]) -> Columns:
    parts: dict[str, list[NDArray[np.generic]]] = {name: [np.zeros(0, dtype)[name]] for name in names}
    for table in table_rows(content, rows, dtype):
        for name in names:
            parts[name].append(table[name].copy())
    return {name: _readable(np.concatenate(parts[name]), name, content.name) for name in names}


def _readable(values: NDArray[np.generic], column: str, name: str) -> NDArray[np.generic]:
    if values.dtype.kind != "S":
        return values
    try:
        return np.char.decode(values.astype(np.bytes_), "utf-8")
    except UnicodeDecodeError as error:
        raise InputInvalid(f"{name}: column '{column}' holds a text that is not UTF-8; export it again") from error


def _storable(name: str, values: NDArray[np.generic]) -> NDArray[np.generic]:
    if values.dtype.kind in "OU":
        texts = [str(value).encode() for value in values.ravel()]
        return np.array(texts, dtype=f"S{max([1, *map(len, texts)])}").reshape(values.shape)
    if values.dtype.kind not in "biufS":
        raise ValueError(f"column '{name}' holds neither numbers nor texts")
    return values.astype(values.dtype.newbyteorder("<"), copy=False)


def _is_wanted(name: str, wanted: Collection[str]) -> bool:
    return name == UID or name in wanted or f"{slot_of(name)}/" in wanted
