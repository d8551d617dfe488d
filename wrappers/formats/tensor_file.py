"""A `.safetensors` file, looked over before it is read: its table of contents, and whether its size is what that says.

The table is bounded, tensors are read one by one, and nothing is taken into memory for what the file only claims to be:
of a file that is all hole, or of another sort, no more than the table is read.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor

_LENGTH_BYTES = 8
_BLOCK_BYTES = 1 << 22
_MAX_AXES = 8
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class _Extent:
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    size: int


class TensorFile:
    """The tensors of an open file, each of which is read when it is asked for.

    Parameters
    ----------
    descriptor
        Of a plain file, open for reading; its position is not moved, and it is not closed here.
    most_table_bytes
        Of the table of contents.

    Attributes
    ----------
    metadata
        What the writer noted, by name.

    Raises
    ------
    ValueError
        If it is no whole `.safetensors` file, of types of numbers that we write.
    OSError
        If it cannot be read.
    """

    def __init__(self, descriptor: int, most_table_bytes: int) -> None:
        self._descriptor = descriptor
        size = os.fstat(descriptor).st_size
        length = int.from_bytes(os.pread(descriptor, _LENGTH_BYTES, 0), "little")
        if not 2 <= length <= min(most_table_bytes, size - _LENGTH_BYTES):
            raise ValueError("cut short, or of another sort")
        begin = _LENGTH_BYTES + length
        try:
            table = json.loads(os.pread(descriptor, length, _LENGTH_BYTES))
        except RecursionError as error:
            raise ValueError("its table of contents is nested") from error
        if not isinstance(table, dict):
            raise ValueError("it has no table of contents")  # noqa: TRY004 - of the file, not of an argument
        noted = table.pop("__metadata__", {})
        self.metadata: dict[str, Any] = noted if isinstance(noted, dict) else {}
        self._places = {name: _place(name, entry, begin) for name, entry in table.items()}
        for place in sorted(self._places.values(), key=lambda place: (place.start, place.size)):
            if place.start != begin:
                raise ValueError("its tensors overlap, or there is something between them")
            begin += place.size
        if begin != size:
            raise ValueError(f"it is {size} bytes, and its table of contents tells of {begin}")

    @property
    def names(self) -> list[str]:
        """What the tensors are called, in alphabetical order."""
        return sorted(self._places)

    def size_of(self, name: str) -> int:
        """How many bytes a tensor has."""
        return self._places[name].size

    def blocks(self, name: str) -> Iterator[memoryview]:
        """The bytes of a tensor in pieces, each of them valid until the next; raises as `read`."""
        place = self._places[name]
        buffer = memoryview(bytearray(min(_BLOCK_BYTES, place.size)))
        for offset in range(0, place.size, _BLOCK_BYTES):
            block = buffer[: min(_BLOCK_BYTES, place.size - offset)]
            self._fill(block, place.start + offset)
            yield block

    def read(self, name: str) -> Tensor:
        """A tensor, on the CPU.

        Raises
        ------
        ValueError
            If the file has become shorter.
        OSError
            If it cannot be read.
        """
        place = self._places[name]
        if not place.size:
            return torch.empty(place.shape, dtype=place.dtype)
        raw = bytearray(place.size)
        self._fill(memoryview(raw), place.start)
        return torch.frombuffer(raw, dtype=place.dtype).reshape(place.shape)

    def _fill(self, view: memoryview, offset: int) -> None:
        while view:
            got = os.preadv(self._descriptor, [view], offset)
            if not got:
                raise ValueError("became shorter while it was read")
            view, offset = view[got:], offset + got


def _place(name: str, entry: object, begin: int) -> _Extent:
    if not isinstance(entry, dict):
        raise ValueError(f"{name[:60]!r} is described otherwise than a tensor")  # noqa: TRY004 - as above
    kind, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    dtype = _DTYPES.get(kind) if isinstance(kind, str) else None
    if dtype is None or not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise ValueError(f"{name[:60]!r} is described otherwise than a tensor")
    start, end = offsets
    if math.prod(shape) * dtype.itemsize != end - start:
        raise ValueError(f"{name[:60]!r} has another size than its shape")
    return _Extent(dtype, tuple(shape), begin + start, end - start)


def _are_counts(values: object) -> TypeGuard[list[int]]:
    return (
        isinstance(values, list)
        and len(values) <= _MAX_AXES
        and all(type(value) is int and 0 <= value < 1 << 62 for value in values)
    )
