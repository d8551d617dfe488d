"""Is this file a whole map? Header, size, checksum and finiteness, without numpy.

Knows the MRC layout as RELION and the bridge write it (little-endian float32), nothing of reconstructions.
"""

from __future__ import annotations

import math
import os
import struct
import zlib

from cryobridge.schemas.values import FixedValues

HEADER_BYTES = 1024
_CHUNK_BYTES = 4 * 1024 * 1024


class MapError(Exception):
    """The file is not the whole map it should be; the message says in what way."""


class MapFacts(FixedValues):
    """What a checked file is: bytes, checksum of the whole file, and the header's standard deviation."""

    size: int
    crc32: int
    rms: float


def expected_size(shape: tuple[int, int, int]) -> int:
    """Bytes of a float32 MRC file of `shape` (z, y, x) without extended header."""
    return HEADER_BYTES + 4 * shape[0] * shape[1] * shape[2]


def check_map(
    fd: int,
    shape: tuple[int, int, int],
    *,
    size: int | None = None,
    crc32: int | None = None,
    header_statistics: bool = True,
) -> MapFacts:
    """Check that a descriptor holds a whole, finite float32 map.

    Parameters
    ----------
    fd
        Open for reading; its position is neither used nor moved.
    shape
        Voxels (z, y, x).
    size, crc32
        What the maker of the file announced: bytes, and zlib's CRC-32 over the whole file.
    header_statistics
        Whether the header's minimum, maximum, mean and deviation must make sense. RELION's own tool leaves
        those of another file there.

    Raises
    ------
    MapError
        If it is anything else.
    """
    actual = os.fstat(fd).st_size
    if size is not None and actual != size:
        raise MapError(f"the map has {actual} bytes where {size} were announced")
    header = os.pread(fd, HEADER_BYTES, 0)
    if len(header) < HEADER_BYTES:
        raise MapError(f"the map ends after {len(header)} bytes")
    nx, ny, nz, mode = struct.unpack_from("<4i", header)
    if (nz, ny, nx) != shape or mode != 2:
        raise MapError(f"the map is {nx} x {ny} x {nz} in mode {mode}, not {shape[2]} x {shape[1]} x {shape[0]}, 2")
    (extended,) = struct.unpack_from("<i", header, 92)
    if extended or actual != expected_size(shape):
        raise MapError(f"the map has {actual} bytes where its header asks for {expected_size(shape)}")
    minimum, maximum, mean = struct.unpack_from("<3f", header, 76)
    (rms,) = struct.unpack_from("<f", header, 216)
    if header_statistics and not (all(map(math.isfinite, (minimum, maximum, mean, rms))) and minimum <= maximum):
        raise MapError("the map's statistics are not finite")
    found = _scan(fd, header, actual)
    if crc32 is not None and found != crc32:
        raise MapError("the map's checksum is not the announced one")
    return MapFacts(actual, found, rms)


def checksum(fd: int) -> int:
    """CRC-32 (as of zlib) over a whole file."""
    value = 0
    offset = 0
    while chunk := os.pread(fd, _CHUNK_BYTES, offset):
        value = zlib.crc32(chunk, value)
        offset += len(chunk)
    return value


def _scan(fd: int, header: bytes, size: int) -> int:
    """Checksum the file and refuse NaN, infinities and values beyond 2^127."""
    value = zlib.crc32(header)
    offset = HEADER_BYTES
    while offset < size:
        chunk = os.pread(fd, min(_CHUNK_BYTES, size - offset), offset)
        if not chunk:
            raise MapError(f"the map ends after {offset} bytes")
        value = zlib.crc32(chunk, value)
        # Sign and upper exponent bits of each float32: 0x7f or 0xff only for NaN, infinities and |v| >= 2^127.
        # Some 40 times faster than looking at the numbers one by one. A read cut short by the system may end
        # inside a number, so the phase is taken from the offset.
        tops = chunk[3 - offset % 4 :: 4]
        if 0x7F in tops or 0xFF in tops:
            raise MapError("the map holds values that are not finite")
        offset += len(chunk)
    return value
