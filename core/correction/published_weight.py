"""The weight of the published method at the size of a crop, off its place by half a voxel as its program has it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..fourier import centred_spectrum, half_of_centred

_LEAST_RANGE = 1e-3
"""Of a weight that is brought to 0 ... 1; the published program's own."""
_REACH_DEVIATIONS = 4.0


def published_weight(fsc3d: Tensor, side: int) -> Tensor:
    """How much each Fourier voxel of a crop counts in the published method (spIsoNet's `rescale_fsc`).

    The whole spectrum with DC at n // 2 is made smaller as a picture would be: blurred by a Gaussian of (n / c - 1) / 2
    voxels, then read linearly at (i + 1/2) n / c - 1/2. Negative values are set to 0 after that, and what is left is
    brought to 0 ... 1. The middle of a picture lies between its voxels and DC on one, so every frequency k is read at
    k n / c + (n / c - 1) / 2 along each axis: half a voxel of the crop too far, less half a voxel of the box. Of what
    such a weight leaves the program keeps the real part, which is what the mean of each voxel and its Friedel mate
    would leave. That mean is given here: symmetric, but blurred along one diagonal of the box.

    Where `core.volume.resampled_weight` keeps every frequency in its place, the lowest shells of a badly measured
    direction count for less. What networks learn from the one and from the other differs by no more than between seeds;
    this one is the published method's.

    Parameters
    ----------
    fsc3d
        (n, n, n // 2 + 1) in [-1, 1], DC first, not clipped.
    side
        c, even.

    Returns
    -------
    (c, c, c // 2 + 1) float32 in [0, 1], DC first.
    """
    n = fsc3d.shape[0]
    blurred = _blurred(centred_spectrum(fsc3d.float()), max(0.0, (n / side - 1) / 2))
    # Aligned corners would keep the outermost voxels; a picture keeps its outer faces.
    small = functional.interpolate(blurred[None, None], size=(side,) * 3, mode="trilinear", align_corners=False)[0, 0]
    small = small.clamp(min=0)
    lowest, highest = small.min(), small.max()
    if float(highest - lowest) > _LEAST_RANGE:
        small = (small - lowest) / (highest - lowest)
    return half_of_centred(small)


def _blurred(volume: Tensor, deviation: float) -> Tensor:
    """A volume (n, n, n) under a Gaussian, mirrored at its outermost voxels."""
    reach = int(_REACH_DEVIATIONS * deviation + 0.5)
    if reach == 0:
        return volume
    steps = torch.arange(-reach, reach + 1, device=volume.device, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (steps / deviation) ** 2)
    kernel = (kernel / kernel.sum()).float()
    for _ in range(volume.dim()):
        # One axis after another comes last, so that each is blurred once and all are back in their places.
        rows = volume.movedim(0, -1)
        padded = functional.pad(rows.reshape(1, -1, rows.shape[-1]), (reach, reach), mode="reflect")
        volume = functional.conv1d(padded.transpose(0, 1), kernel[None, None]).reshape(rows.shape)
    return volume
