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
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid, OutOfMemory

from .compressed import MAGIC_BYTES, Decompressed, is_compressed
from .whole_file import whole_file, write_all

Source = int | str | os.PathLike[str]
Float32Array = NDArray[np.float32]

HEADER_BYTES = 1024
MAX_AXIS = 1 << 16
"""No detector or box is larger; a header that says so is damaged."""
SLAB_BYTES = 16 << 20
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_STAMP_BIG = b"\x11\x11"
_OLD = bytes(8)
"""In place of the word MAP and the stamp in maps of programs older than both."""


@dataclass(frozen=True)
class MrcHeader:
    """What a checked header says."""

    stored_shape: tuple[int, int, int]
    """(sections, rows, columns) as they lie in the file."""
    axes: tuple[int, int, int]
    """Which of x=1, y=2, z=3 the (columns, rows, sections) run along: mapc, mapr, maps."""
    dtype: np.dtype[np.generic]
    voxel_size_A: tuple[float, float, float]
    """(z, y, x); 0 where the file does not say."""
    data_offset: int

    @property
    def transposition(self) -> tuple[int, int, int]:
        """Order of the stored axes that puts them as (z, y, x)."""
        stored = (self.axes[2], self.axes[1], self.axes[0])
        return (stored.index(3), stored.index(2), stored.index(1))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape as (z, y, x)."""
        z, y, x = self.transposition
        return (self.stored_shape[z], self.stored_shape[y], self.stored_shape[x])

    @property
    def data_bytes(self) -> int:
        """Bytes of the voxels in the file."""
        return math.prod(self.stored_shape) * self.dtype.itemsize


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


def write(descriptor: int, volume: Float32Array, voxel_size_A: float | tuple[float, float, float]) -> Written:
    """Write a whole map from the start of an open file, and cut off what an older one had beyond.

    Parameters
    ----------
    descriptor
        Open for writing; its position does not matter and is not changed.
    volume
        (z, y, x), finite; stored as little-endian float32 (mode 2), axes x, y, z, origin 0.
    voxel_size_A
        One number, or (z, y, x).

    Raises
    ------
    ValueError
        If the volume is not three-dimensional or not finite.
    OSError
        If it cannot be written, e.g. disk full.
    """
    voxels = np.ascontiguousarray(volume, dtype="<f4")
    header = _header_bytes(voxels, voxel_size_A)
    body = voxels.reshape(-1).view(np.uint8).data.cast("B")
    write_all(descriptor, header, 0)
    write_all(descriptor, body, len(header))
    size = len(header) + len(body)
    os.ftruncate(descriptor, size)
    return Written(size, zlib.crc32(body, zlib.crc32(header)))


def write_atomically(
    path: str | os.PathLike[str], volume: Float32Array, voxel_size_A: float | tuple[float, float, float]
) -> Written:
    """Write a map under `path`, whole or not at all; see `write` for the parameters and errors."""
    with whole_file(path) as descriptor:
        return write(descriptor, volume, voxel_size_A)


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
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
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
            f"{name}: holds {got} bytes, less than the {HEADER_BYTES} of an MRC header; it was cut off or is no map"
        )
    header = _parsed(bytes(raw), name)
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
    if size > announced and (exact or raw[208:216] == _OLD):
        raise InputInvalid(f"{name}: holds {size} bytes, its header announces {announced}; it is damaged")
    return header


def _check_end(file: _Plain | Decompressed, header: MrcHeader) -> None:
    if isinstance(file, Decompressed):
        file.expect_end(header.data_offset + header.data_bytes)


def _parsed(raw: bytes, name: str) -> MrcHeader:
    order = _byte_order(raw, name)
    nx, ny, nz, mode = struct.unpack_from(order + "4i", raw, 0)
    if mode not in _MODES:
        raise InputInvalid(f"{name}: MRC mode {mode} is not read here (0, 1, 2, 6 and 12 are); convert it to mode 2")
    if not all(0 < n <= MAX_AXIS for n in (nx, ny, nz)):
        raise InputInvalid(f"{name}: the header announces {nx} x {ny} x {nz} voxels; it is damaged or no map")
    axes = struct.unpack_from(order + "3i", raw, 64)
    if axes == (0, 0, 0):  # some programs leave them unset and mean the usual order
        axes = (1, 2, 3)
    if sorted(axes) != [1, 2, 3]:
        raise InputInvalid(f"{name}: the header's axis order is {axes}, not some order of 1, 2, 3; it is damaged")
    (extended,) = struct.unpack_from(order + "i", raw, 92)
    if extended < 0:
        raise InputInvalid(f"{name}: the header announces {extended} bytes of extended header; it is damaged")
    return MrcHeader(
        stored_shape=(nz, ny, nx),
        axes=axes,
        dtype=np.dtype(order + _MODES[mode]),
        voxel_size_A=_voxel_size(raw, order),
        data_offset=HEADER_BYTES + extended,
    )


def _byte_order(raw: bytes, name: str) -> str:
    if raw[208:211] != b"MAP" and raw[208:216] != _OLD:
        raise InputInvalid(f"{name}: the word MAP is missing from its header; it is no MRC file")
    stamp = raw[212:214]
    orders = (">", "<") if stamp == _STAMP_BIG else ("<", ">")
    for order in orders:
        # Some programs write the wrong stamp: the mode tells, as every mode read here is a small number.
        if struct.unpack_from(order + "i", raw, 12)[0] in _MODES:
            return order
    return orders[0]


def _voxel_size(raw: bytes, order: str) -> tuple[float, float, float]:
    """(z, y, x), from the cell and the sampling; 0 where they say nothing sensible."""
    sampling = struct.unpack_from(order + "3i", raw, 28)
    cell = struct.unpack_from(order + "3f", raw, 40)
    x, y, z = (
        edge / count if count > 0 and math.isfinite(edge) and edge > 0 else 0.0
        for edge, count in zip(cell, sampling, strict=True)
    )
    return (z, y, x)


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


def _header_bytes(voxels: Float32Array, voxel_size_A: float | tuple[float, float, float]) -> bytes:
    if voxels.ndim != 3 or 0 in voxels.shape:
        raise ValueError(f"a map has three axes (z, y, x), not the shape {voxels.shape}")
    nz, ny, nx = voxels.shape
    z, y, x = (voxel_size_A,) * 3 if isinstance(voxel_size_A, int | float) else voxel_size_A
    mean = float(voxels.mean(dtype=np.float64))
    if not math.isfinite(mean):  # a float64 sum of finite float32 is always finite
        raise ValueError("the map holds NaN or infinite values; it is not written")
    # Deviations are taken plane by plane, so that no second map is held.
    variance = sum(float(np.square(plane - np.float64(mean)).sum()) for plane in voxels) / voxels.size
    raw = bytearray(HEADER_BYTES)
    struct.pack_into("<4i", raw, 0, nx, ny, nz, 2)
    struct.pack_into("<3i", raw, 28, nx, ny, nz)
    struct.pack_into("<6f", raw, 40, nx * x, ny * y, nz * z, 90.0, 90.0, 90.0)
    struct.pack_into("<3i", raw, 64, 1, 2, 3)
    struct.pack_into("<3f", raw, 76, float(voxels.min()), float(voxels.max()), mean)
    struct.pack_into("<2i", raw, 88, 1, 0)
    struct.pack_into("<i", raw, 108, 20140)
    raw[208:216] = b"MAP \x44\x44\x00\x00"
    struct.pack_into("<f", raw, 216, math.sqrt(variance))
    label = b"cryobridge"
    struct.pack_into("<i", raw, 220, 1)
    raw[224:304] = label.ljust(80)
    return bytes(raw)
