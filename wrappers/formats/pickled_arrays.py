"""Pickles of numpy arrays, as cryoDRGN keeps them, read without running anything they hold; and written.

A pickle is a program. Here it may build lists, tuples, tables, numbers, text and numpy arrays of plain numbers or text,
and name nothing else. All protocols and all versions of numpy are read, and several pickles behind each other.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import read_plain

from .pickle_program import BROKEN_PICKLE, PickleProgram

MAX_BYTES = 2 << 30
"""Of one file: poses of ten million particles are a third of it."""
_MAX_PICKLES, _MAX_VALUES, _MAX_AXES, _MAX_DEPTH = 16, 1_000_000, 8, 16
_PROTOCOLS_2_AND_LATER, _EARLIER = b"\x80", re.compile(rb"[(\]}cNKJMGFISVT)UXl]")
_ORDERS: dict[str, Literal["<", ">", "="]] = {"<": "<", ">": ">", "=": "=", "|": "="}
_DTYPE = re.compile(r"[<>=|]?([biufcSU])(\d{1,4})|\?|b|bool")

Value = Any
"""Arrays, tuples, lists and tables of such, numbers, text, None."""


def read_pickled(path: Path, *, max_bytes: int = MAX_BYTES) -> list[Value]:
    """Read every pickle of a file.

    Returns
    -------
    list
        A value for each pickle, in their order; arrays in the machine's byte order.

    Raises
    ------
    InputInvalid
        If it cannot be opened, is too large, damaged, or would run code; one sentence.
    """
    try:
        raw = read_plain(path, max_bytes)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputInvalid(f"{path}: cannot be read ({reason}); check the name and its permissions") from error
    if not raw or not (raw.startswith(_PROTOCOLS_2_AND_LATER) or _EARLIER.match(raw)):
        raise InputInvalid(f"{path}: is no pickle of numpy arrays{'' if raw else ' but empty'}; give cryoDRGN's .pkl")
    try:
        return _values(raw, str(path))
    except MemoryError as error:
        raise InputInvalid(f"{path}: needs more memory than there is; it is damaged") from error
    except BROKEN_PICKLE as error:
        raise InputInvalid(f"{path}: is a damaged pickle, or none of plain numpy arrays; write it again") from error


def pickled(*values: Value) -> bytes:
    """Pickles of arrays behind each other, as any numpy opens them (protocol 4)."""
    return b"".join(pickle.dumps(value, protocol=4) for value in values)


class _PendingType:
    """A numpy type while a program runs."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype[np.generic]) -> None:
        self.dtype = dtype

    def __setstate__(self, state: object) -> None:
        """Take the byte order; a type of parts or of metadata is refused."""
        if not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("a type with parts")
        order = _ORDERS.get(_text(state[1]))
        if order is None:
            raise pickle.UnpicklingError("a byte order")
        if self.dtype.itemsize > 1 and self.dtype.kind in "iufcU":
            self.dtype = self.dtype.newbyteorder(order)


class _PendingArray:
    """An array while a program runs: no method of the array's own is within the program's reach."""

    __slots__ = ("budget", "values")

    def __init__(self, budget: Callable[[int], None]) -> None:
        self.budget = budget
        self.values: NDArray[np.generic] | None = None

    def __setstate__(self, state: object) -> None:
        """Take (version, shape, type, Fortran order, bytes)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("an array's state")
        _, shape, dtype, fortran, data = state
        self.values = _array(data, dtype, shape, "F" if fortran else "C", self.budget)


class _ArrayProgram(PickleProgram):
    """What a pickle of arrays may name."""

    def __init__(self, file: io.BytesIO, name: str, budget: Callable[[int], None]) -> None:
        super().__init__(file)
        self._called, self._budget = name, budget

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name of numpy's; any other ends the reading."""
        numpy_module = module.replace("numpy._core", "numpy.core")
        known: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): "ndarray",
            ("numpy", "dtype"): self._dtype,
            ("numpy.core.multiarray", "_reconstruct"): self._reconstruct,
            ("numpy.core.multiarray", "scalar"): self._scalar,
            ("numpy.core.numeric", "_frombuffer"): self._from_buffer,
            ("_codecs", "encode"): self._encode,
            ("collections", "OrderedDict"): self._table,
        }
        if (numpy_module, name) not in known:
            raise InputInvalid(
                f"{self._called}: asks for {f'{module}.{name}'[:60]!r}, which could run code, and is not read; write "
                "plain numpy arrays"
            )
        return known[numpy_module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Nothing: no such pickle has parts elsewhere."""
        raise pickle.UnpicklingError("a part elsewhere")

    def _dtype(self, code: object, *_: object) -> _PendingType:
        text = _text(code)
        if not _DTYPE.fullmatch(text):
            raise InputInvalid(
                f"{self._called}: holds an array of objects ({text[:20]!r}), not of plain numbers; write numbers"
            )
        return _PendingType(np.dtype(text))

    def _reconstruct(self, kind: object, shape: object, *_: object) -> _PendingArray:
        if kind != "ndarray":
            raise pickle.UnpicklingError("no array")
        return _PendingArray(self._budget)

    def _scalar(self, dtype: object, data: object) -> Any:
        return _array(data, dtype, (), "C", self._budget)[()]

    def _from_buffer(self, data: object, dtype: object, shape: object, order: object) -> _PendingArray:
        found = _PendingArray(self._budget)
        found.values = _array(data, dtype, shape, "F" if order == "F" else "C", self._budget)
        return found

    def _encode(self, text: object, coding: object = "latin1") -> bytes:
        if not isinstance(text, str) or coding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError("an encoding")
        return text.encode("latin-1")

    def _table(self, *content: Any) -> dict[Any, Any]:
        if content and not all(len(content) == 1 and isinstance(pair, list | tuple) for pair in content[0]):
            raise pickle.UnpicklingError("a table")
        return {key: value for key, value in (content[0] if content else ()) if isinstance(key, str | int | float)}


def _values(raw: bytes, name: str) -> list[Value]:
    # Arrays that share their bytes could together be of any size.
    left = [2 * len(raw) + 1024]

    def budget(size: int) -> None:
        left[0] -= size
        if left[0] < 0:
            raise pickle.UnpicklingError("more than the file holds")

    found: list[Value] = []
    file = io.BytesIO(raw)
    nodes = [_MAX_VALUES]
    while file.tell() < len(raw):
        if len(found) == _MAX_PICKLES:
            raise InputInvalid(f"{name}: holds more than {_MAX_PICKLES} pickles; no file of arrays does")
        found.append(_finished(_ArrayProgram(file, name, budget).load(), nodes, 0))
    return found


def _finished(value: Any, nodes: list[int], depth: int) -> Value:
    """The value with what is pending taken out, within bounds."""
    nodes[0] -= 1
    if nodes[0] < 0 or depth > _MAX_DEPTH:
        raise pickle.UnpicklingError("more than any table holds")
    if isinstance(value, _PendingArray):
        if value.values is None:
            raise pickle.UnpicklingError("an array without content")
        return value.values
    if isinstance(value, tuple | list):
        return type(value)([_finished(part, nodes, depth + 1) for part in value])
    if isinstance(value, dict):
        return {key: _finished(part, nodes, depth + 1) for key, part in value.items()}
    if value is None or isinstance(value, bool | int | float | str | bytes | np.generic):
        return value
    raise pickle.UnpicklingError("neither numbers nor text")


def _array(
    data: object, dtype: object, shape: object, order: Any, budget: Callable[[int], None]
) -> NDArray[np.generic]:
    """An array of bytes that are there, in the machine's byte order."""
    if not isinstance(dtype, _PendingType) or not isinstance(shape, tuple) or len(shape) > _MAX_AXES:
        raise pickle.UnpicklingError("no array of plain numbers")
    if not all(type(side) is int and side >= 0 for side in shape):
        raise pickle.UnpicklingError("a shape")
    # Python 2 kept bytes as text.
    raw = data.encode("latin-1") if isinstance(data, str) else data
    if not isinstance(raw, bytes | bytearray) or len(raw) != math.prod(shape) * dtype.dtype.itemsize:
        raise pickle.UnpicklingError("bytes of another number than the array has")
    budget(len(raw))
    found = np.frombuffer(raw, dtype.dtype).reshape(shape, order=order)
    return np.ascontiguousarray(found).astype(found.dtype.newbyteorder("="), copy=True).reshape(shape)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise pickle.UnpicklingError("no text")
    return value
