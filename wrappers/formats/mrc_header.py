"""The 1024 bytes before the voxels of an MRC map: what they say, checked for sense, and how ours are written.

Knows nothing of files: whether the bytes after the header are there is for `mrc` to see.

References
----------
Cheng et al., "MRC2014: Extensions to the MRC format header for electron cryo-microscopy and tomography",
J. Struct. Biol. 192 (2015), doi:10.1016/j.jsb.2015.04.002; words 39 and 40: "The MRC format" of IMOD.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from .foreign import named_for_what_it_is

Float32Array = NDArray[np.float32]

HEADER_BYTES = 1024
MAX_AXIS = 1 << 16
"""No detector or box is larger; a header that says so is damaged."""
OLD = bytes(8)
"""In place of the word MAP and the stamp in maps of programs older than both."""
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_STAMP_BIG = b"\x11\x11"
_IMOD_STAMP, _IMOD_SIGNED_BYTES = 1146047817, 1
_FARTHEST_A = 1e7
"""An origin beyond is a damaged number; no map lies a millimetre off."""


@dataclass(frozen=True)
class MapPosition:
    """Where a map lies: header words of viewers and model builders, which no computation on voxels needs.

    start
        Index (z, y, x) of the first voxel on the grid of the unit cell.
    origin_A
        Place (z, y, x) of the first voxel in Angstrom, for programs that look at it rather than at `start`.
    """

    start: tuple[int, int, int] = (0, 0, 0)
    origin_A: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __str__(self) -> str:
        """As x, y, z, the order of viewers."""
        start = ", ".join(str(index) for index in reversed(self.start))
        origin = ", ".join(f"{value:g}" for value in reversed(self.origin_A))
        return f"start ({start}), origin ({origin}) A"

    def same_as(self, other: MapPosition, voxel_size_A: float) -> bool:
        """Whether both lie on the same voxels; origins may differ by rounding."""
        return self.start == other.start and all(
            abs(one - two) < 0.01 * max(voxel_size_A, 1e-3)
            for one, two in zip(self.origin_A, other.origin_A, strict=True)
        )


AT_ZERO = MapPosition()


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
    position: MapPosition = AT_ZERO
    cell_A: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Edges (z, y, x) of the unit cell; 0 where the file does not say."""

    @property
    def transposition(self) -> tuple[int, int, int]:
        """Order of the stored axes that puts them as (z, y, x)."""
        return _transposition(self.axes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape as (z, y, x)."""
        z, y, x = self.transposition
        return (self.stored_shape[z], self.stored_shape[y], self.stored_shape[x])

    @property
    def data_bytes(self) -> int:
        """Bytes of the voxels in the file."""
        return math.prod(self.stored_shape) * self.dtype.itemsize


def parsed_header(raw: bytes, name: str, most_sections: int = MAX_AXIS) -> MrcHeader:
    """Read the 1024 bytes of a header; `name` is for messages, stacks may have more sections than maps.

    Raises
    ------
    InputInvalid
        If they are of no MRC map of mode 0, 1, 2, 6 or 12, or announce what cannot be.
    """
    order = _byte_order(raw, name)
    nx, ny, nz, mode = struct.unpack_from(order + "4i", raw, 0)
    if mode not in _MODES:
        raise InputInvalid(f"{name}: MRC mode {mode} is not read here (0, 1, 2, 6 and 12 are); convert it to mode 2")
    if not (0 < nx <= MAX_AXIS and 0 < ny <= MAX_AXIS and 0 < nz <= most_sections):
        raise InputInvalid(f"{name}: the header announces {nx} x {ny} x {nz} voxels; it is damaged or no map")
    axes = struct.unpack_from(order + "3i", raw, 64)
    if axes == (0, 0, 0):  # some programs leave them unset and mean the usual order
        axes = (1, 2, 3)
    if sorted(axes) != [1, 2, 3]:
        raise InputInvalid(f"{name}: the header's axis order is {axes}, not some order of 1, 2, 3; it is damaged")
    (extended,) = struct.unpack_from(order + "i", raw, 92)
    if extended < 0:
        raise InputInvalid(f"{name}: the header announces {extended} bytes of extended header; it is damaged")
    cell, voxel_size = _cell(raw, order)
    return MrcHeader(
        stored_shape=(nz, ny, nx),
        axes=axes,
        dtype=np.dtype(order + ("u1" if mode == 0 and _unsigned_bytes(raw, order) else _MODES[mode])),
        voxel_size_A=voxel_size,
        data_offset=HEADER_BYTES + extended,
        position=_position(raw, order, _transposition(axes)),
        cell_A=cell,
    )


def header_bytes(
    voxels: Float32Array, voxel_size_A: float | tuple[float, float, float], position: MapPosition
) -> bytes:
    """The header of a map (z, y, x) of little-endian float32, with its statistics.

    Raises
    ------
    ValueError
        If the volume is not three-dimensional or not finite.
    """
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
    struct.pack_into("<3i", raw, 16, *reversed(position.start))
    struct.pack_into("<3i", raw, 28, nx, ny, nz)
    struct.pack_into("<6f", raw, 40, nx * x, ny * y, nz * z, 90.0, 90.0, 90.0)
    struct.pack_into("<3i", raw, 64, 1, 2, 3)
    struct.pack_into("<3f", raw, 76, float(voxels.min()), float(voxels.max()), mean)
    struct.pack_into("<2i", raw, 88, 1, 0)
    struct.pack_into("<i", raw, 108, 20140)
    struct.pack_into("<3f", raw, 196, *reversed(position.origin_A))
    raw[208:216] = b"MAP \x44\x44\x00\x00"
    struct.pack_into("<f", raw, 216, math.sqrt(variance))
    label = b"cryobridge"
    struct.pack_into("<i", raw, 220, 1)
    raw[224:304] = label.ljust(80)
    return bytes(raw)


@dataclass(frozen=True)
class StackStatistics:
    """Of all pixels of a stack: least, most, mean, and the standard deviation."""

    least: float
    most: float
    mean: float
    deviation: float


def stack_header_bytes(
    count: int, box: int, pixel_size_A: float, statistics: StackStatistics, *, half_precision: bool
) -> bytes:
    """The header of a stack of square images (count, box, box), little-endian float32, or float16 (mode 12)."""
    raw = bytearray(HEADER_BYTES)
    struct.pack_into("<4i", raw, 0, box, box, count, 12 if half_precision else 2)
    struct.pack_into("<3i", raw, 28, box, box, count)
    struct.pack_into("<6f", raw, 40, box * pixel_size_A, box * pixel_size_A, count * pixel_size_A, 90.0, 90.0, 90.0)
    struct.pack_into("<3i", raw, 64, 1, 2, 3)
    struct.pack_into("<3f", raw, 76, statistics.least, statistics.most, statistics.mean)
    # Space group 0: images, and no volume.
    struct.pack_into("<2i", raw, 88, 0, 0)
    struct.pack_into("<i", raw, 108, 20140)
    raw[208:216] = b"MAP \x44\x44\x00\x00"
    struct.pack_into("<f", raw, 216, statistics.deviation)
    struct.pack_into("<i", raw, 220, 1)
    raw[224:304] = b"cryobridge".ljust(80)
    return bytes(raw)


MODE_OF = {"float32": 2, "float16": 12, "int8": 0}
"""Of the types that volumes are written in."""


def volume_header_bytes(like: MrcHeader, dtype: str, statistics: StackStatistics) -> bytes:
    """The header of a little-endian volume that lies where another does, in its order of axes.

    Parameters
    ----------
    like
        Gives shape, order of axes, voxel size and position.
    dtype
        "float32", "float16" or "int8".
    statistics
        Of all its voxels as they are stored.
    """
    sections, rows, columns = like.stored_shape
    z, y, x = like.transposition
    start = {stored: like.position.start[axis] for axis, stored in enumerate((z, y, x))}
    raw = bytearray(HEADER_BYTES)
    struct.pack_into("<4i", raw, 0, columns, rows, sections, MODE_OF[dtype])
    struct.pack_into("<3i", raw, 16, start[2], start[1], start[0])
    shape = like.shape
    struct.pack_into("<3i", raw, 28, *reversed(shape))
    edges_A = [size * voxel_A for size, voxel_A in zip(shape, like.voxel_size_A, strict=True)]
    struct.pack_into("<6f", raw, 40, *reversed(edges_A), 90.0, 90.0, 90.0)
    struct.pack_into("<3i", raw, 64, *like.axes)
    struct.pack_into("<3f", raw, 76, statistics.least, statistics.most, statistics.mean)
    struct.pack_into("<2i", raw, 88, 1, 0)
    struct.pack_into("<i", raw, 108, 20140)
    if dtype == "int8":
        # Programs that follow IMOD ask here whether bytes have a sign.
        struct.pack_into("<2i", raw, 152, _IMOD_STAMP, _IMOD_SIGNED_BYTES)
    struct.pack_into("<3f", raw, 196, *reversed(like.position.origin_A))
    raw[208:216] = b"MAP \x44\x44\x00\x00"
    struct.pack_into("<f", raw, 216, statistics.deviation)
    struct.pack_into("<i", raw, 220, 1)
    raw[224:304] = b"cryobridge".ljust(80)
    return bytes(raw)


def is_old(raw: bytes) -> bool:
    """Whether a header lacks the word MAP: of such a file nothing is believed that its size does not bear out."""
    return raw[208:211] != b"MAP"


def _transposition(axes: tuple[int, int, int]) -> tuple[int, int, int]:
    stored = (axes[2], axes[1], axes[0])
    return (stored.index(3), stored.index(2), stored.index(1))


def _may_be_old(raw: bytes) -> bool:
    """Whether a header without the word MAP is of a program older than that: nothing there, or what IMOD had there.

    IMOD had an origin and the number of labels. That such a file is a map its size must tell too.
    """
    if raw[208:216] == OLD:
        return True
    for order in ("<", ">"):
        *origin, labels = struct.unpack_from(order + "3fi", raw, 208)
        sane = all(math.isfinite(value) and (value == 0 or 1e-4 < abs(value) < _FARTHEST_A) for value in origin)
        if sane and 1 <= labels <= 10 and struct.unpack_from(order + "i", raw, 12)[0] in _MODES:
            return True
    return False


def _byte_order(raw: bytes, name: str) -> str:
    if is_old(raw):
        if (stranger := named_for_what_it_is(raw, name, "a map (MRC)")) is not None:
            raise InputInvalid(stranger)
        if not _may_be_old(raw):
            raise InputInvalid(f"{name}: the word MAP is missing from its header; it is no MRC file")
    stamp = raw[212:214]
    orders = (">", "<") if stamp == _STAMP_BIG else ("<", ">")
    for order in orders:
        # Some programs write the wrong stamp: the mode tells, as every mode read here is a small number.
        if struct.unpack_from(order + "i", raw, 12)[0] in _MODES:
            return order
    return orders[0]


def _unsigned_bytes(raw: bytes, order: str) -> bool:
    """Whether IMOD wrote the bytes, and unsigned: the standard has them signed, and IMOD says so where they are."""
    stamp, flags = struct.unpack_from(order + "2i", raw, 152)
    return stamp == _IMOD_STAMP and not flags & _IMOD_SIGNED_BYTES


def _position(raw: bytes, order: str, transposition: tuple[int, int, int]) -> MapPosition:
    """Start indices are given in the order of the stored axes, the origin as x, y, z; old headers have no origin."""
    columns, rows, sections = struct.unpack_from(order + "3i", raw, 16)
    stored = (sections, rows, columns)
    z, y, x = transposition
    origin = struct.unpack_from(order + "3f", raw, 196)
    told = not is_old(raw) and all(math.isfinite(value) and abs(value) < _FARTHEST_A for value in origin)
    return MapPosition(
        start=(stored[z], stored[y], stored[x]),
        origin_A=(origin[2], origin[1], origin[0]) if told else (0.0, 0.0, 0.0),
    )


def _cell(raw: bytes, order: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Edges of the cell and sides of a voxel, (z, y, x) both, by the sampling; 0 where nothing sensible is said."""
    sampling = struct.unpack_from(order + "3i", raw, 28)
    cell = [edge if math.isfinite(edge) and edge > 0 else 0.0 for edge in struct.unpack_from(order + "3f", raw, 40)]
    x, y, z = (edge / count if count > 0 else 0.0 for edge, count in zip(cell, sampling, strict=True))
    return (cell[2], cell[1], cell[0]), (z, y, x)
