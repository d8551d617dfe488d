"""MRC2014 maps: a strict check of the header before anything is read, and whole files on writing.

The header is 1024 bytes from somebody else. It is compared with the size of the file before a byte is allocated
for what it announces. Works on paths and on open descriptors alike, and never moves a descriptor's position,
because the hook hands out descriptors that other processes hold too.

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

from cryobridge.schemas.errors import InputInvalid

from .whole_file import whole_file, write_all

Source = int | str | os.PathLike[str]
Float32Array = NDArray[np.float32]

HEADER_BYTES = 1024
MAX_AXIS = 1 << 16
"""No detector or box is larger; a header that says so is damaged."""
SLAB_BYTES = 16 << 20
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_STAMP_LITTLE, _STAMP_BIG = (b"\x44\x44", b"\x44\x41"), (b"\x11\x11",)


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
    """Check the header of an MRC file against the file.

    Parameters
    ----------
    source
        Path, or descriptor open for reading.
    name
        What to call the file in messages; a path's own by default.
    exact
        Refuse bytes after the last voxel too.

    Raises
    ------
    InputInvalid
        If the file cannot be opened, is no MRC map of mode 0, 1, 2, 6 or 12, or is shorter than it announces.
    """
    with _opened(source, name) as (descriptor, called):
        return _checked_header(descriptor, called, exact)


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
    """
    with _opened(source, name) as (descriptor, called):
        header = _checked_header(descriptor, called, exact=False)
        volume = np.empty(header.stored_shape, np.float32)
        for start, slab in _slabs(descriptor, header, called, finite):
            volume[start : start + len(slab)] = slab
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
    with _opened(source, name) as (descriptor, called):
        yield from _slabs(descriptor, header, called, finite)


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


@contextlib.contextmanager
def _opened(source: Source, name: str | None) -> Iterator[tuple[int, str]]:
    """Give (descriptor, what to call it); close it only if it was opened here."""
    if isinstance(source, int):
        yield source, name or f"descriptor {source}"
        return
    called = name or os.fspath(source)
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputInvalid(f"{called}: cannot be opened ({reason}); check the name and its permissions") from error
    try:
        yield descriptor, called
    finally:
        os.close(descriptor)


def _checked_header(descriptor: int, name: str, exact: bool) -> MrcHeader:
    try:
        size = os.fstat(descriptor).st_size
        raw = os.pread(descriptor, HEADER_BYTES, 0)
    except OSError as error:
        raise InputInvalid(f"{name}: cannot be read ({error.strerror})") from error
    if len(raw) < HEADER_BYTES:
        raise InputInvalid(
            f"{name}: holds {size} bytes, less than the {HEADER_BYTES} of an MRC header; it was cut off or is no map"
        )
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
    if extended < 0 or HEADER_BYTES + extended > size:
        raise InputInvalid(
            f"{name}: the header announces {extended} bytes of extended header, the file holds {size} bytes; "
            "it was cut off or is damaged"
        )
    header = MrcHeader(
        stored_shape=(nz, ny, nx),
        axes=axes,
        dtype=np.dtype(order + _MODES[mode]),
        voxel_size_A=_voxel_size(raw, order),
        data_offset=HEADER_BYTES + extended,
    )
    announced = header.data_offset + header.data_bytes
    if size < announced:
        raise InputInvalid(
            f"{name}: holds {size} bytes, its header announces {announced}; it was cut off (disk full?), make it again"
        )
    if exact and size > announced:
        raise InputInvalid(f"{name}: holds {size} bytes, its header announces {announced}; it is damaged")
    return header


def _byte_order(raw: bytes, name: str) -> str:
    if raw[208:211] != b"MAP":
        raise InputInvalid(f"{name}: the word MAP is missing from its header; it is no MRC file")
    stamp = raw[212:214]
    orders = (">", "<") if stamp in _STAMP_BIG else ("<", ">")
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


def _slabs(descriptor: int, header: MrcHeader, name: str, finite: bool) -> Iterator[tuple[int, Float32Array]]:
    sections, rows, columns = header.stored_shape
    plane_bytes = rows * columns * header.dtype.itemsize
    step = max(1, min(sections, SLAB_BYTES // plane_bytes))
    buffer = np.empty((step, rows, columns), header.dtype)
    for start in range(0, sections, step):
        part = buffer[: min(step, sections - start)]
        _fill(descriptor, part, header.data_offset + start * plane_bytes, name)
        slab = part.astype(np.float32, copy=False)
        if finite and not np.isfinite(slab).all():
            bad = int(slab.size - np.count_nonzero(np.isfinite(slab)))
            raise InputInvalid(
                f"{name}: holds NaN or infinite values ({bad} in sections {start} to {start + len(part) - 1}); "
                "find out which step made them"
            )
        yield start, slab


def _fill(descriptor: int, part: NDArray[np.generic], offset: int, name: str) -> None:
    view = part.reshape(-1).view(np.uint8).data
    while view:
        try:
            got = os.preadv(descriptor, [view], offset)
        except OSError as error:
            raise InputInvalid(f"{name}: cannot be read ({error.strerror})") from error
        if got == 0:
            raise InputInvalid(f"{name}: became shorter while it was read; another program is writing to it")
        view, offset = view[got:], offset + got


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
