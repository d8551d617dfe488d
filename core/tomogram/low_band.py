"""The lowest frequencies of a volume on a coarse grid, for filters that reach farther than a block of it.

A filter W is split by a Gaussian G: W G for the whole volume on a grid of every fourth or eighth voxel, where all of it
fits; W (1 - G) for blocks, within whose margin it then ends. Together they are W. G is 5 deviations down at the coarse
grid's Nyquist.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from torch import Tensor

from .volume_blocks import Span, Spans

_DEVIATIONS_AT_NYQUIST = 5.0
_KERNEL_DEVIATIONS = 4.5
_BEYOND = 12
"""Coarse voxels beyond each end of an axis: what a transform brings round from one end to the other stays in them."""
_NEAR = 8
"""Coarse voxels that a spline is fitted to beyond each end of what is interpolated."""
_MOST_VOXELS = 64 << 20


@dataclass(frozen=True)
class CoarseGrid:
    """Every `step`-th voxel of a volume (z, y, x), and some beyond its ends.

    Attributes
    ----------
    volume
        Shape of the volume, (z, y, x).
    step
        Voxels from one to the next.
    """

    volume: tuple[int, int, int]
    step: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels of the grid, (z, y, x)."""
        z, y, x = (-(-(size - 1) // self.step) + 1 + 2 * _BEYOND for size in self.volume)
        return z, y, x

    def read(self, part: Spans) -> Spans:
        """What of the volume, mirrored at its ends, is needed for a part of the grid."""
        z, y, x = (
            ((start - _BEYOND) * self.step - self.reach, (stop - 1 - _BEYOND) * self.step + self.reach + 1)
            for start, stop in part
        )
        return z, y, x

    @property
    def reach(self) -> int:
        """Of the Gaussian, in voxels."""
        return math.ceil(_KERNEL_DEVIATIONS * self._deviation)

    def kernel(self) -> Tensor:
        """The Gaussian along one axis, (2 * reach + 1,) float64, of sum 1."""
        steps = torch.arange(-self.reach, self.reach + 1, dtype=torch.float64)
        values = torch.exp(-0.5 * (steps / self._deviation).square())
        return values / values.sum()

    def passed(self, size: int, device: torch.device, *, half: bool = False) -> Tensor:
        """What of each frequency of an axis the Gaussian lets pass, (size,) as in a transform, or in its half."""
        frequencies = torch.fft.rfftfreq(size) if half else torch.fft.fftfreq(size)
        steps = torch.arange(-self.reach, self.reach + 1, dtype=torch.float64)
        waves = torch.cos(2 * math.pi * frequencies.double()[:, None] * steps)
        return (waves @ self.kernel()).float().to(device)

    @property
    def _deviation(self) -> float:
        """Of the Gaussian, in voxels."""
        return _DEVIATIONS_AT_NYQUIST * self.step / math.pi


def coarse_grid(volume: tuple[int, int, int]) -> CoarseGrid:
    """The finest grid for a volume (z, y, x) whose every voxel can be transformed at once."""
    step = 4
    while math.prod(CoarseGrid(volume, step).shape) > _MOST_VOXELS:
        step *= 2
    return CoarseGrid(volume, step)


def coarsened(read: Tensor, grid: CoarseGrid) -> Tensor:
    """What was read for a part of the grid, smoothed and taken at the grid's voxels; (nz, ny, nx) float32."""
    kernel = grid.kernel().float().to(read.device)
    found = read.float()
    for axis in range(3):
        count = (found.shape[axis] - 2 * grid.reach - 1) // grid.step + 1
        matrix = torch.zeros(count, found.shape[axis], device=read.device)
        for row in range(count):
            matrix[row, row * grid.step : row * grid.step + len(kernel)] = kernel
        found = (found.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    return found.contiguous()


def remainder_weight(shape: tuple[int, int, int], grid: CoarseGrid, device: torch.device) -> Tensor:
    """What the coarse grid leaves of each frequency of a block, 1 - G; float32 (z, y, x // 2 + 1)."""
    z, y = (grid.passed(size, device) for size in shape[:2])
    x = grid.passed(shape[2], device, half=True)
    return 1.0 - z[:, None, None] * y[:, None] * x


def interpolated(coarse: Tensor, grid: CoarseGrid, kept: Spans) -> Tensor:
    """A part of the volume out of its coarse grid, by cubic splines along each axis; (nz, ny, nx) float32."""
    found = coarse
    for axis, span in enumerate(kept):
        low, high, matrix = _spline(span, grid.step, coarse.shape[axis])
        lines = found.narrow(axis, low, high - low).movedim(axis, -1)
        found = (lines @ matrix.T.to(coarse.device)).movedim(-1, axis)
    return found


def _spline(span: Span, step: int, size: int) -> tuple[int, int, Tensor]:
    """Which voxels of a coarse axis are used for a span of the volume, and how: (voxels of the span, used)."""
    low = max(0, span[0] // step + _BEYOND - _NEAR)
    high = min(size, (span[1] - 1) // step + 2 + _BEYOND + _NEAR)
    knots = (np.arange(low, high) - _BEYOND) * float(step)
    weights = make_interp_spline(knots, np.eye(high - low), k=3)(np.arange(*span, dtype=np.float64))
    return low, high, torch.from_numpy(np.asarray(weights, dtype=np.float32))
