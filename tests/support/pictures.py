"""What a test can see of a PNG."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.image import imread
from numpy.typing import NDArray


def pixels(png: bytes) -> NDArray[np.uint8]:
    """The picture as red, green and blue, uint8 (height, width, 3)."""
    picture = np.rint(255 * imread(io.BytesIO(png), format="png")).astype(np.uint8)
    return np.repeat(picture[:, :, None], 3, axis=2) if picture.ndim == 2 else picture[:, :, :3]


def share_of(picture: NDArray[np.uint8], colour: str, tolerance: int = 4) -> float:
    """The share of pixels that have a colour such as "#9AA0A6"."""
    wanted = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)])
    return float((np.abs(picture.astype(int) - wanted).max(axis=2) <= tolerance).mean())
