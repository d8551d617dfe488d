"""Pixels as a PNG, in one byte a pixel where the picture is grey: sections of maps are mostly noise, which packs badly.

References
----------
ISO/IEC 15948 (Portable Network Graphics), https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_GREY, _COLOUR = 0, 2
_NO_FILTER, _UP = 0, 2
# The highest level takes ten times as long on line art, for a twentieth of the bytes.
_EFFORT = 6


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return red, green and blue, uint8 (height, width, 3), as a PNG; grey ones are stored as grey."""
    height, width, _ = pixels.shape
    grey = bool((pixels == pixels[:, :, :1]).all())
    rows = (pixels[:, :, 0] if grey else pixels).reshape(height, -1)
    # Line art repeats the row above, noise does not: whichever of the two filters packs better.
    above = np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    packed = [_packed(rows, _NO_FILTER), _packed(rows - above, _UP)]
    header = struct.pack(">IIBBBBB", width, height, 8, _GREY if grey else _COLOUR, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", min(packed, key=len)) + _chunk(b"IEND", b"")


def _packed(rows: NDArray[np.uint8], kind: int) -> bytes:
    """Rows (height, bytes), each behind the number of its filter, compressed."""
    return zlib.compress(np.pad(rows, ((0, 0), (1, 0)), constant_values=kind).tobytes(), _EFFORT)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
