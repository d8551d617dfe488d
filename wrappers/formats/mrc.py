"""MRC2014 maps: a strict check of the header before anything is read, and whole files on writing.

The header is 1024 bytes from somebody else. It is compared with the size of the file before a byte is allocated
for what it announces. Works on paths and on open descriptors alike, and never moves a descriptor's position,
because the hook hands out descriptors that other processes hold too. Behind a path, gzip and bzip2 are unpacked
while they are read; a descriptor of a call holds what RELION wrote, which is never packed.

References
----------
Cheng et al., "MRC2014: Extensions to the MRC format header for electron cryo-microscopy and tomography",
J. Struct. Biol. 192 (2015), doi:10.1016/j.jsb.2015.04.002
"""

from __future__ import annotations

import contextlib
import math
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryobridge.schemas.errors import InputInvalid, OutOfMemory
from cryobridge.schemas.plain_file import open_plain

from .compressed import MAGIC_BYTES, Decompressed, is_compressed
from .foreign import named_for_what_it_is
from .mrc_header import AT_ZERO, HEADER_BYTES, Float32Array, MapPosition, MrcHeader, header_bytes, is_old, parsed_header
from .whole_file import whole_file, write_all

Source = int | str | os.PathLike[str]

SLAB_BYTES = 16 << 20

__all__ = [
    "AT_ZERO",
    "Float32Array",
    "MapPosition",
    "MrcHeader",
    "Source",
    "Written",
    "read",
    "read_header",
    "read_slabs",
    "write",
    "write_atomically",
]


@dataclass(frozen=True)
class Written:
    """A whole file that was written: its length and the CRC-32 of all its bytes."""

    size: int
    crc32: int


def read_header(source: Source, *, name: str | None = None, exact: bool = False) -> MrcHeader:
    """Check the header of an MRC file against the file; a packed one is unpacked to its end to see what it holds.

    Parameters
    ----------
    source
        Path, of a gzip or bzip2 file too, or descriptor open for reading.
    name
        What to call the file in messages; a path's own by default.
    exact
        Refuse bytes after the last voxel too.

    Raises
    ------
    InputInvalid
        If the file cannot be opened, is no MRC map of mode 0, 1, 2, 6 or 12, or is shorter than it announces.
    """
    with _opened(source, name) as (file, called):
        header = _checked_header(file, called, exact)
        _check_end(file, header)
        return header


def read(source: Source, *, name: str | None = None, finite: bool = True) -> tuple[Float32Array, MrcHeader]:
    """Read a map.

    Returns
    -------
    volume
        (z, y, x) float32 in standard axis order, whatever order and type it is stored in.
    header
        The checked header.

    Raises
    ------
    InputInvalid
        As `read_header`, and if `finite` and a voxel is NaN or infinite.
    OutOfMemory
        If the map is larger than the memory of this machine.
    """
    with _opened(source, name) as (file, called):
        header = _checked_header(file, called, exact=False)
        volume = _empty(header, called)
        _expect_believed(file, header, called)
        for start, slab in _slabs(file, header, called, finite):
            volume[start : start + len(slab)] = slab
        _check_end(file, header)
    if header.transposition != (0, 1, 2):
        volume = np.ascontiguousarray(volume.transpose(header.transposition))
    return volume, header


def read_slabs(
    source: Source, header: MrcHeader, *, name: str | None = None, finite: bool = True
) -> Iterator[tuple[int, Float32Array]]:
    """Read a map a few sections at a time, to fill something else without holding the map twice.

    Yields
    ------
    start, slab
        Index of the first section and (sections, rows, columns) float32 in stored order. The array is used again
        for the next slab.

    Raises
    ------
    InputInvalid
        As `read`.
    """
    with _opened(source, name) as (file, called):
        yield from _slabs(file, header, called, finite)
        _check_end(file, header)


def write(
    descriptor: int,
    volume: Float32Array,
    voxel_size_A: float | tuple[float, float, float],
    position: MapPosition = AT_ZERO,
) -> Written:
    """Write a whole map from the start of an open file, and cut off what an older one had beyond.

    Parameters
    ----------
    descriptor
        Open for writing; its position does not matter and is not changed.
    volume
        (z, y, x), finite; stored as little-endian float32 (mode 2), axes x, y, z.
    voxel_size_A
        One number, or (z, y, x).
    position
        Where it lies; RELION's own maps, and volumes in Fourier space, lie at 0.

    Raises
    ------
    ValueError
        If the volume is not three-dimensional or not finite.
    OSError
        If it cannot be written, e.g. disk full.
    """
    voxels = np.ascontiguousarray(volume, dtype="<f4")
    header = header_bytes(voxels, voxel_size_A, position)
    body = voxels.reshape(-1).view(np.uint8).data.cast("B")
    write_all(descriptor, header, 0)
    write_all(descriptor, body, len(header))
    size = len(header) + len(body)
    os.ftruncate(descriptor, size)
    return Written(size, zlib.crc32(body, zlib.crc32(header)))


def write_atomically(
    path: str | os.PathLike[str],
    volume: Float32Array,
    voxel_size_A: float | tuple[float, float, float],
    position: MapPosition = AT_ZERO,
) -> Written:
    """Write a map under `path`, whole or not at all; see `write` for the parameters and errors."""
    with whole_file(path) as descriptor:
        return write(descriptor, volume, voxel_size_A, position)


class _Plain:
    """A file as it lies on disk, read without moving the descriptor's position."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor, self._name = descriptor, name

    def read_into(self, view: memoryview, offset: int) -> int:
        got = 0
        while got < len(view):
            try:
                more = os.preadv(self._descriptor, [view[got:]], offset + got)
            except OSError as error:
                raise InputInvalid(f"{self._name}: cannot be read ({error.strerror})") from error
            if more == 0:
                break
            got += more
        return got

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size


@contextlib.contextmanager
def _opened(source: Source, name: str | None) -> Iterator[tuple[_Plain | Decompressed, str]]:
    """Give (file, what to call it); close it only if it was opened here."""
    if isinstance(source, int):
        called = name or f"descriptor {source}"
        yield _Plain(source, called), called
        return
    called = name or os.fspath(source)
    try:
        descriptor = open_plain(Path(source))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputInvalid(f"{called}: cannot be opened ({reason}); check the name and its permissions") from error
    try:
        plain = _Plain(descriptor, called)
        head = bytearray(MAGIC_BYTES)
        plain.read_into(memoryview(head), 0)
        yield (Decompressed(descriptor, called) if is_compressed(bytes(head)) else plain), called
    finally:
        os.close(descriptor)


def _checked_header(file: _Plain | Decompressed, name: str, exact: bool) -> MrcHeader:
    raw = bytearray(HEADER_BYTES)
    got = file.read_into(memoryview(raw), 0)
    if got < HEADER_BYTES:
        raise InputInvalid(
            named_for_what_it_is(bytes(raw[:got]), name, "a map (MRC)")
            or f"{name}: holds {got} bytes, less than the {HEADER_BYTES} of an MRC header; it was cut off or is no map"
        )
    header = parsed_header(bytes(raw), name)
    announced = header.data_offset + header.data_bytes
    if isinstance(file, Decompressed):
        if not file.may_hold(announced):
            raise InputInvalid(
                f"{name}: its header announces {announced} bytes, more than it can unpack to; it is damaged"
            )
        return header
    size = file.size()
    if size < header.data_offset:
        raise InputInvalid(
            f"{name}: the header announces {header.data_offset - HEADER_BYTES} bytes of extended header, the file "
            f"holds {size} bytes; it was cut off or is damaged"
        )
    if size < announced:
        raise InputInvalid(
            f"{name}: holds {size} bytes, its header announces {announced}; it was cut off (disk full?), make it again"
        )
    # What is said to lie after the header in a file without the word MAP is believed only if it fits to the byte.
    if size > announced and (exact or is_old(bytes(raw))):
        raise InputInvalid(f"{name}: holds {size} bytes, its header announces {announced}; it is damaged")
    return header


def _check_end(file: _Plain | Decompressed, header: MrcHeader) -> None:
    if isinstance(file, Decompressed):
        file.expect_end(header.data_offset + header.data_bytes)


def _empty(header: MrcHeader, name: str) -> Float32Array:
    """Room for a map, unless it is larger than the machine: a small archive may truly hold zeros without end."""
    needed = 4 * math.prod(header.stored_shape)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        if needed > there:
            raise MemoryError
        return np.empty(header.stored_shape, np.float32)
    except MemoryError as error:
        raise OutOfMemory(
            f"{name}: the map needs {needed / 2**30:.1f} GiB of memory, this machine has {there / 2**30:.1f}; "
            "crop or bin it"
        ) from error


def _expect_believed(file: _Plain | Decompressed, header: MrcHeader, name: str) -> None:
    announced = header.data_offset + header.data_bytes
    if isinstance(file, Decompressed) and not file.is_believed(announced):
        raise InputInvalid(
            f"{name}: its header announces {announced} bytes, far more than maps of its size unpack to; if that is "
            "right, unpack it yourself"
        )


def _slabs(
    file: _Plain | Decompressed, header: MrcHeader, name: str, finite: bool
) -> Iterator[tuple[int, Float32Array]]:
    sections, rows, columns = header.stored_shape
    plane_bytes = rows * columns * header.dtype.itemsize
    step = max(1, min(sections, SLAB_BYTES // plane_bytes))
    buffer = np.empty((step, rows, columns), header.dtype)
    for start in range(0, sections, step):
        part = buffer[: min(step, sections - start)]
        view = part.reshape(-1).view(np.uint8).data
        if file.read_into(view, header.data_offset + start * plane_bytes) < len(view):
            _check_end(file, header)
            raise InputInvalid(f"{name}: became shorter while it was read; another program is writing to it")
        slab = part.astype(np.float32, copy=False)
        if finite and not np.isfinite(slab).all():
            _check_end(file, header)  # a damaged archive is to blame before the map is
            bad = int(slab.size - np.count_nonzero(np.isfinite(slab)))
            raise InputInvalid(
                f"{name}: holds NaN or infinite values ({bad} in sections {start} to {start + len(part) - 1}); "
                "find out which step made them"
            )
        yield start, slab
