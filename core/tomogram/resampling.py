"""Volumes on a finer or coarser grid by crop or padding of their transform, axis by axis.

Values stay as large as they are. Where an axis gets shorter, all beyond the new Nyquist is left out, so nothing is
aliased; where it gets longer again, what is within it comes back exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor


def resampled(volume: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A real volume on another grid that covers the same length along each axis; float32.

    Parameters
    ----------
    volume
        Any number of axes, as (z, y, x).
    shape
        The new one; each axis longer, shorter or as it is, even or odd.

    Raises
    ------
    ValueError
        If the shape has another number of axes, or an axis below 1.
    """
    if len(shape) != volume.dim() or min(shape) < 1:
        raise ValueError(f"a volume of {tuple(volume.shape)} on a grid of {shape}")
    found = volume.float()
    # The axes that get shorter go first: less is left for the others to do.
    for axis in sorted(range(volume.dim()), key=lambda one: shape[one] / volume.shape[one]):
        found = resampled_along(found, axis, shape[axis])
    return found


def resampled_along(volume: Tensor, axis: int, size: int) -> Tensor:
    """A real volume with `size` voxels along one axis over the same length; float32.

    The frequency at the Nyquist of an even axis is shared by its two signs: halved where it gets two places, put
    together where it gets one, so that making an axis longer and shorter again changes nothing.
    """
    old = volume.shape[axis]
    if old == size:
        return volume.float()
    spectrum = torch.fft.rfft(volume.float(), dim=axis)
    shorter = min(old, size)
    kept = spectrum.narrow(axis, 0, shorter // 2 + 1)
    if shorter % 2 == 0:
        kept = kept.clone()
        # Of the shorter axis: a real cosine, which in the longer axis is two frequencies with half each.
        nyquist = kept.narrow(axis, shorter // 2, 1)
        if size > old:
            nyquist *= 0.5
        else:
            nyquist.copy_((2.0 * nyquist.real).to(nyquist.dtype))
    return torch.fft.irfft(kept, n=size, dim=axis).mul_(size / old)


def padded_length(size: int, ratio: float, most: int) -> int:
    """How long an axis is best made before it is resampled, so that its new voxels have the size that is wanted.

    Parameters
    ----------
    size
        Its voxels.
    ratio
        Old voxel size over new.
    most
        By how many voxels it may be longer.

    Returns
    -------
    int
        From `size` to `size + most`: the length whose `ratio`-th part is nearest to a whole number, relative to it; the
        shortest of equals.
    """

    def error(length: int) -> float:
        new = length * ratio
        return round(abs(max(1, round(new)) / new - 1.0), 9)

    return min(range(size, size + most + 1), key=lambda length: (error(length), length))
