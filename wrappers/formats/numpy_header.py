"""The header of a numpy file that holds a table, read within bounds; nothing in it is ever run.

numpy's own reader hands the header to Python's compiler, which takes seconds for a long one and fails in ways of its
own for brackets and signs that nest too deep. What `numpy.save` writes for a table needs far less of the language.

References
----------
numpy.lib.format, "Format Version 1.0" to "3.0".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 1 << 22
"""A table of CryoSPARC before 4.5 with a slot for each of a hundred classes has 90 kB; thousands of columns are met."""
MAX_ROW_BYTES = 1 << 20
_MAX_DEPTH = 8
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}
_TOKEN = re.compile(r"\s*(?:('[^'\\\n]*'|\"[^\"\\\n]*\")|(\d{1,18})(?!\d)|(True|False)\b|([][(){},:]))")
_TYPE = re.compile(r"[<>=|]?[a-zA-Z]\d{0,6}(\[\w{1,8}\])?")


@dataclass(frozen=True)
class NumpyHeader:
    """What a header says.

    shape
        Of the array: rows alone for a table.
    dtype
        None where it is not one of plain columns.
    data_offset
        Byte of the first row.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.void] | None
    data_offset: int


def parsed_numpy_header(read: Callable[[int, int], bytes]) -> NumpyHeader:
    """Read the header of a numpy file.

    Parameters
    ----------
    read
        Gives so many bytes (second) of the file from a byte on (first), or fewer at its end; called in order.

    Raises
    ------
    ValueError
        If it is damaged, or longer or deeper than any of a table.
    """
    start = read(0, len(MAGIC) + 2)
    if not start.startswith(MAGIC) or len(start) < len(MAGIC) + 2 or start[len(MAGIC)] not in _LENGTH_BYTES:
        raise ValueError("not the beginning of a numpy file")
    major = start[len(MAGIC)]
    length = int.from_bytes(read(len(start), _LENGTH_BYTES[major]), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"a header of {length} bytes")
    at = len(start) + _LENGTH_BYTES[major]
    raw = read(at, length)
    if len(raw) < length:
        raise ValueError("the header is cut off")
    content = _Literal(raw.decode("utf-8" if major == 3 else "latin-1")).whole()
    if not isinstance(content, dict) or set(content) != {"descr", "fortran_order", "shape"}:
        raise ValueError("no header of an array")
    shape = content["shape"]
    sides = tuple(side for side in shape if type(side) is int) if isinstance(shape, tuple) else None
    if sides is None or sides != shape:
        raise ValueError("no shape")
    return NumpyHeader(sides, _dtype(content["descr"]), at + length)


def _dtype(descr: object) -> np.dtype[np.void] | None:
    """The type of a row of plain columns; None for anything else."""
    if not isinstance(descr, list):
        return None
    for column in descr:
        if not isinstance(column, tuple) or not 2 <= len(column) <= 3 or not isinstance(column[0], str):
            raise ValueError("a column without name or type")
        if not isinstance(column[1], str) or not _TYPE.fullmatch(column[1]):
            return None
    try:
        dtype = np.dtype(descr)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError("columns that numpy does not know") from error
    if not 0 < dtype.itemsize <= MAX_ROW_BYTES:
        raise ValueError(f"rows of {dtype.itemsize} bytes")
    return dtype


class _Literal:
    """Text, numbers, truths, tables, lists and tuples of Python's, and nothing else."""

    def __init__(self, text: str) -> None:
        self._text = text.rstrip()
        self._at = 0

    def whole(self) -> object:
        """All of the text as one value; raises `ValueError` where it is not one."""
        value = self._value(0)
        if self._at != len(self._text):
            raise ValueError("something after the value")
        return value

    def _value(self, depth: int) -> object:
        if depth > _MAX_DEPTH:
            raise ValueError("brackets too deep")
        text, number, truth, mark = self._next()
        if text:
            return text[1:-1]
        if number:
            return int(number)
        if truth:
            return truth == "True"
        if mark == "{":
            return self._table(depth)
        if mark == "[":
            return self._items("]", depth)[0]
        if mark == "(":
            items, commas = self._items(")", depth)
            return tuple(items) if commas or not items else items[0]
        raise ValueError(f"'{mark}' out of place")

    def _items(self, end: str, depth: int) -> tuple[list[object], bool]:
        items: list[object] = []
        commas = False
        while not self._skipped(end):
            if items and not commas:
                raise ValueError("a comma is missing")
            items.append(self._value(depth + 1))
            if not (commas := self._skipped(",")):
                if not self._skipped(end):
                    raise ValueError("a bracket is not closed")
                return items, len(items) > 1
        return items, commas

    def _table(self, depth: int) -> dict[str, object]:
        table: dict[str, object] = {}
        while not self._skipped("}"):
            key = self._next()[0]
            if not key or not self._skipped(":"):
                raise ValueError("a table without keys")
            table[key[1:-1]] = self._value(depth + 1)
            if not self._skipped(","):
                if not self._skipped("}"):
                    raise ValueError("a table is not closed")
                break
        return table

    def _next(self) -> tuple[str | None, ...]:
        found = _TOKEN.match(self._text, self._at)
        if found is None:
            raise ValueError("no value where one is due")
        self._at = found.end()
        return found.groups()

    def _skipped(self, mark: str) -> bool:
        """Whether this mark is next; it is passed then."""
        found = _TOKEN.match(self._text, self._at)
        if found is None or found.group(4) != mark:
            return False
        self._at = found.end()
        return True
