"""How many images an MRC stack holds, and how large they are; of its pixels only that they are all there.

A stack is not held to what a map must be: it may have far more sections, and be of a mode that no map has.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain

_HEADER_BYTES = 1024
_MOST_IMAGES, _LONGEST_SIDE, _LAST_MODE = 100_000_000, 1 << 16, 101
_PIXEL_BYTES = {0: 1, 1: 2, 2: 4, 6: 2, 12: 2}
"""By mode, as far as a pixel is whole bytes."""


def read_stack_shape(path: Path) -> tuple[int, int, int]:
    """Images, rows and columns of a stack.

    Raises
    ------
    InputInvalid
        If it cannot be read, is no MRC file, or is shorter than it announces.
    """
    try:
        descriptor = open_plain(path)
        try:
            raw, size = os.pread(descriptor, _HEADER_BYTES, 0), os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputInvalid(f"{path}: cannot be read ({reason}); check the stack and its permissions") from error
    if len(raw) == _HEADER_BYTES:
        for order in "<>":
            columns, rows, images, mode = struct.unpack_from(f"{order}4i", raw)
            (extended,) = struct.unpack_from(f"{order}i", raw, 92)
            likely = 0 < columns <= _LONGEST_SIDE and 0 < rows <= _LONGEST_SIDE and 0 < images <= _MOST_IMAGES
            if likely and 0 <= mode <= _LAST_MODE and extended >= 0:
                announced = _HEADER_BYTES + extended + images * rows * columns * _PIXEL_BYTES.get(mode, 0)
                if size < announced:
                    raise InputInvalid(
                        f"{path}: holds {size} bytes, its header announces {announced}; it was cut off, copy it again"
                    )
                return images, rows, columns
    raise InputInvalid(f"{path}: is no MRC stack, or damaged; copy it again")
