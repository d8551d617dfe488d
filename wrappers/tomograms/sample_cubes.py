"""A few cubes out of a tomogram of any size, to look at its spectrum without reading it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain

from ..formats import mrc
from ..formats.compressed import MAGIC_BYTES, is_compressed

SIDE = 64
SMALLEST_SIDE = 24
_PLACES = (0.25, 0.5, 0.75)


def sample_cubes(path: Path, header: mrc.MrcHeader, side: int = SIDE) -> NDArray[np.float32] | None:
    """Cubes from the middle section, spread over y and x.

    Parameters
    ----------
    side
        Voxels a side; fewer where the tomogram is thinner.

    Returns
    -------
    (m, n, n, n) in (z, y, x), m up to 9; None of a tomogram that is too thin, packed, or not finite there.

    Raises
    ------
    InputInvalid
        If it cannot be read.
    """
    n = min(side, *header.shape) // 2 * 2
    if n < SMALLEST_SIDE:
        return None
    room = [length - n for length in header.shape]
    starts = sorted({(room[0] // 2, int(room[1] * y), int(room[2] * x)) for y in _PLACES for x in _PLACES})
    try:
        descriptor = open_plain(path)
        try:
            if is_compressed(os.pread(descriptor, MAGIC_BYTES, 0)):
                return None
            cubes = np.stack([_cube(descriptor, header, start, n) for start in starts])
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise InputInvalid(f"{path}: cannot be read ({error}); see that no other program writes to it") from error
    return cubes if np.isfinite(cubes).all() else None


def _cube(descriptor: int, header: mrc.MrcHeader, start: tuple[int, int, int], n: int) -> NDArray[np.float32]:
    """One cube, row by row: what lies between its rows is as long as the tomogram is wide."""
    stored_start = [0, 0, 0]
    for axis, place in zip(header.transposition, start, strict=True):
        stored_start[axis] = place
    _, rows, columns = header.stored_shape
    cube = np.empty((n, n, n), header.dtype)
    for section in range(n):
        for row in range(n):
            voxel = ((stored_start[0] + section) * rows + stored_start[1] + row) * columns + stored_start[2]
            raw = os.pread(descriptor, n * header.dtype.itemsize, header.data_offset + voxel * header.dtype.itemsize)
            cube[section, row] = np.frombuffer(raw, header.dtype)
    return cube.transpose(header.transposition).astype(np.float32)
