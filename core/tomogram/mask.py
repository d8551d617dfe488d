"""Where in a tomogram there is something: density, its local spread, an outline drawn by hand, and the ends along z.

All on the tomogram binned by 2. The two measures are those of IsoNet's `make_mask`, from a volume smoothed by a
Gaussian of patch / 2: the most of the negative density, and the standard deviation, both over a box of 2 patch + 1
voxels. Which part of the voxels is taken is told by percentiles of the whole volume, found by counting values in narrow
bins, so that no more of it need be held than one block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .volume_blocks import mirrored_places

_GAUSSIAN_REACH = 4.0
"""Of the smoothing, in its deviations."""
_BINS = 1 << 16


def mask_margin(patch: int) -> int:
    """Binned voxels that must lie about a block for its measures to be those of the whole volume."""
    return _smoothing_reach(patch) + patch


def binned_by_2(volume: Tensor) -> Tensor:
    """Means over cubes of two voxels: (z, y, x) becomes (z // 2, y // 2, x // 2); an odd last voxel is left out."""
    return functional.avg_pool3d(volume.float()[None, None], 2)[0, 0]


def mask_measures(binned: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """Density and local spread of a binned volume (nz, ny, nx), or of a block of it with its margin.

    Parameters
    ----------
    binned
        Protein dark. Mirrored at its borders for the smoothing; boxes that reach beyond them end there.
    patch
        Half the width of the box; 0 smooths nothing, and every spread is 0.

    Returns
    -------
    density, spread
        The largest negative value in the box about each voxel, and the standard deviation in it.
    """
    smooth = _smoothed(binned.float(), patch)
    density = spread = -smooth
    mean, square = smooth, smooth.square()
    for axis in range(3):
        density = _pooled(density, axis, patch, largest=True)
        mean = _pooled(mean, axis, patch, largest=False)
        square = _pooled(square, axis, patch, largest=False)
    spread = square.sub_(mean.square_()).clamp_(min=0.0).sqrt_()
    return density, spread


class ValueCounts:
    """How often values come up, in narrow bins between two limits; those beyond count as the limits.

    Parameters
    ----------
    low, high
        The limits.
    """

    def __init__(self, low: float, high: float) -> None:
        self._low, self._width = low, max(high - low, 1e-30) / _BINS
        self._counts = torch.zeros(_BINS, dtype=torch.int64)

    def add(self, values: Tensor) -> None:
        """Count values (...,)."""
        bins = ((values.flatten() - self._low) / self._width).clamp_(0, _BINS - 1).long()
        self._counts += torch.bincount(bins, minlength=_BINS).cpu()

    def percentile(self, percent: float) -> float:
        """The value that so many percent of those counted do not exceed, to the width of a bin: its upper end.

        Largest values over boxes are alike in many places, and those at the percentile itself do not exceed it.

        Raises
        ------
        ValueError
            If nothing was counted.
        """
        total = int(self._counts.sum())
        if total == 0:
            raise ValueError("nothing was counted")
        rank = percent / 100.0 * (total - 1)
        found = int(torch.searchsorted(self._counts.cumsum(0), math.floor(rank) + 1))
        return self._low + (found + 1) * self._width


def outline_plane(points: Tensor, shape: tuple[int, int]) -> Tensor:
    """Which voxels of a section (y, x) lie inside a closed outline; bool, by the even-odd rule.

    Parameters
    ----------
    points
        (n, 2), y and x in voxels, in the order they were drawn; at least 3.
    shape
        Of the section.

    Raises
    ------
    ValueError
        If there are fewer than 3 points.
    """
    if len(points) < 3:
        raise ValueError(f"an outline of {len(points)} points")
    y = torch.arange(shape[0], dtype=torch.float64)[:, None]
    x = torch.arange(shape[1], dtype=torch.float64)
    inside = torch.zeros(shape, dtype=torch.bool)
    corners = points.double().tolist()
    for (y0, x0), (y1, x1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if y0 == y1:
            continue
        crossed = (y >= min(y0, y1)) & (y < max(y0, y1))
        inside ^= crossed & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


def outline_in_bins(points: Sequence[Sequence[float]]) -> tuple[Tensor, tuple[float, float] | None]:
    """Take a drawn outline apart, as IsoNet does: points (n, 3) of x, y, z in voxels, for a volume binned by 2.

    Returns
    -------
    outline, range
        (m, 2) of y and x in binned voxels; and the range of z in binned voxels that the last two points mark where they
        lie at least 5 apart, in which case they are none of the outline.
    """
    halved = torch.as_tensor([list(point) for point in points], dtype=torch.float64).reshape(-1, 3) / 2.0
    limits = None
    if len(halved) >= 2 and abs(float(halved[-1, 2] - halved[-2, 2])) >= 5.0:
        low, high = sorted((float(halved[-2, 2]), float(halved[-1, 2])))
        limits, halved = (low, high), halved[:-2]
    return halved[:, [1, 0]], limits


def upsampled_by_2(binned: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Every voxel of a binned mask (nz, ny, nx) twice along each axis, up to `shape`; an odd last voxel stays 0."""
    twice = binned
    for axis in range(3):
        twice = twice.repeat_interleave(2, dim=axis)
    full = torch.zeros(shape, dtype=binned.dtype, device=binned.device)
    full[: twice.shape[0], : twice.shape[1], : twice.shape[2]] = twice[: shape[0], : shape[1], : shape[2]]
    return full


def _smoothing_reach(patch: int) -> int:
    return int(_GAUSSIAN_REACH * patch / 2 + 0.5)


def _smoothed(volume: Tensor, patch: int) -> Tensor:
    """A Gaussian of deviation patch / 2 along each axis, the volume mirrored at its borders (edge voxels twice)."""
    reach = _smoothing_reach(patch)
    if reach == 0:
        return volume
    steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (steps / (patch / 2)).square())
    kernel = (kernel / kernel.sum()).float().to(volume.device)
    for axis in range(3):
        size = volume.shape[axis]
        places = mirrored_places(-reach, size + reach, size).to(volume.device)
        lines = volume.index_select(axis, places).movedim(axis, -1)
        flat = lines.reshape(-1, 1, lines.shape[-1])
        volume = functional.conv1d(flat, kernel[None, None]).reshape(*lines.shape[:-1], size).movedim(-1, axis)
    return volume.contiguous()


def _pooled(volume: Tensor, axis: int, patch: int, *, largest: bool) -> Tensor:
    """The largest value, or the mean, over 2 patch + 1 voxels along one axis, fewer at its ends."""
    lines = volume.movedim(axis, -1)
    flat = lines.reshape(-1, 1, lines.shape[-1])
    width = 2 * patch + 1
    if largest:
        pooled = functional.max_pool1d(flat, width, stride=1, padding=patch)
    else:
        pooled = functional.avg_pool1d(flat, width, stride=1, padding=patch, count_include_pad=False)
    return pooled.reshape(lines.shape).movedim(-1, axis)
