"""A stack of images written batch by batch: only what is appended is held, and the header comes last."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .mrc_header import HEADER_BYTES, StackStatistics, stack_header_bytes
from .whole_file import write_all

_LARGEST_HALF = 65504.0


class StackWriter:
    """Writes one stack to an open file.

    Parameters
    ----------
    descriptor
        Open for writing; its position does not matter.
    box
        Pixels along a side of the images.
    pixel_size_A
        For the header.
    half_precision
        Write float16 (mode 12) in the place of float32.
    """

    def __init__(self, descriptor: int, box: int, pixel_size_A: float, *, half_precision: bool = False) -> None:
        self._descriptor, self._box, self._pixel_size_A = descriptor, box, pixel_size_A
        self._half = half_precision
        self._count, self._offset = 0, HEADER_BYTES
        self._least, self._most, self._sum, self._squares = math.inf, -math.inf, 0.0, 0.0

    def append(self, images: NDArray[np.float32]) -> None:
        """Write images (k, box, box) behind those that are there.

        Raises
        ------
        ValueError
            If they are of another box, not finite, or too large for float16.
        OSError
            If they cannot be written, e.g. disk full.
        """
        if images.shape[1:] != (self._box, self._box):
            raise ValueError(f"images of {images.shape[1:]} in a stack of {self._box}")
        least, most = float(images.min()), float(images.max())
        if not math.isfinite(least) or not math.isfinite(most):
            raise ValueError("images that hold NaN or infinite values")
        if self._half and max(-least, most) > _LARGEST_HALF:
            raise ValueError(f"values of up to {max(-least, most):g}, which float16 cannot hold")
        stored = np.ascontiguousarray(images, "<f2" if self._half else "<f4")
        data = stored.reshape(-1).view(np.uint8).data.cast("B")
        write_all(self._descriptor, data, self._offset)
        self._offset += len(data)
        self._count += len(images)
        self._least, self._most = min(self._least, least), max(self._most, most)
        self._sum += float(images.sum(dtype=np.float64))
        # Image by image, so that no second batch is held in double precision.
        self._squares += sum(float(np.square(image, dtype=np.float64).sum()) for image in images)

    def finish(self) -> None:
        """Write the header; raises `ValueError` where there is no image."""
        if self._count == 0:
            raise ValueError("a stack without images")
        pixels = self._count * self._box**2
        mean = self._sum / pixels
        deviation = math.sqrt(max(self._squares / pixels - mean * mean, 0.0))
        statistics = StackStatistics(self._least, self._most, mean, deviation)
        header = stack_header_bytes(self._count, self._box, self._pixel_size_A, statistics, half_precision=self._half)
        write_all(self._descriptor, header, 0)
