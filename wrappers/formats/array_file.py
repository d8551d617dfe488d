"""Numpy's `.npz` and `.npy`: arrays by name, no pickles, within what such a file can be.

Headers are looked at before an array is made: an archive of a few kilobytes may announce any number of bytes.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain

from .numpy_header import MAGIC

Arrays = dict[str, NDArray[np.generic]]
Read = TypeVar("Read")

MAX_BYTES = 16 << 30
_MAX_ARRAYS = 1000
_UNTOLD_BYTES, _MOST_UNPACKED = 64 << 20, 1000
"""What an archive may unpack to without a question, and else in times of its size."""
_KINDS = "biufcSU"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_BROKEN = (ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_arrays(path: Path) -> Arrays:
    """Every array of a `.npz` by name.

    Raises
    ------
    InputInvalid
        If it cannot be read, is no `.npz`, holds objects, or more than such a file does.
    """

    def read(file: IO[bytes]) -> Arrays:
        if file.read(len(MAGIC)) == MAGIC:
            raise InputInvalid(f"{path}: is one numpy array, not a .npz of several; give the .npz")
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            _expect_bounded(entries, os.fstat(file.fileno()).st_size, path)
            return {entry.filename.removesuffix(".npy"): _array(archive.open(entry), path) for entry in entries}

    return _opened(path, read, "no .npz of plain arrays")


def read_array(path: Path) -> NDArray[np.generic]:
    """The one array of a `.npy`; raises `InputInvalid` as `read_arrays`."""
    return _opened(path, lambda file: _array(file, path), "no .npy of plain numbers")


def arrays_bytes(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """A `.npz` of arrays by name."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _opened(path: Path, read: Callable[[IO[bytes]], Read], what: str) -> Read:
    try:
        with open(open_plain(path), "rb") as file:
            return read(file)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror or error}; check the file") from error
    except MemoryError as error:
        raise InputInvalid(f"{path}: holds more than this machine's memory; give fewer particles") from error
    except _BROKEN as error:
        raise InputInvalid(f"{path}: is {what}, or damaged; write it again") from error


def _expect_bounded(entries: list[zipfile.ZipInfo], size: int, path: Path) -> None:
    unpacked = sum(entry.file_size for entry in entries)
    if len(entries) > _MAX_ARRAYS or unpacked > min(MAX_BYTES, max(_UNTOLD_BYTES, _MOST_UNPACKED * size)):
        raise InputInvalid(
            f"{path}: holds {len(entries)} arrays of {unpacked} bytes, more than a table of particles; it is damaged"
        )


def _array(file: IO[bytes], path: Path) -> NDArray[np.generic]:
    """One array, read once its header is known to be of plain values."""
    with file:
        shape, in_fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
        if dtype.hasobject or dtype.names is not None or dtype.kind not in _KINDS:
            raise InputInvalid(f"{path}: holds objects, which could run code; write arrays of plain numbers")
        size = math.prod(shape) * dtype.itemsize
        raw = bytearray()
        # Piece by piece, so that no more is taken than is there.
        while len(raw) < size and (part := file.read(min(1 << 24, size - len(raw)))):
            raw += part
        if len(raw) != size or file.read(1):
            raise ValueError("another number of bytes than announced")
    found = np.frombuffer(raw, dtype) if size else np.zeros(math.prod(shape), dtype)
    return found.reshape(shape, order="F" if in_fortran else "C")
