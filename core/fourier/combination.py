"""Combining two maps at a resolution: low shells from one, brought to the spectrum of the other, the rest from that.

References
----------
The steps are those of spIsoNet's combine_map (Liu et al. 2025, doi 10.1038/s41592-024-02505-1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .filters import ramp_curve
from .level import masked
from .shells import expand, radial_mean, shell_index, shell_of_resolution
from .transforms import check_same_box, forward, inverse

_EDGE_SHELLS = 5.0


def rescale(volume: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Copy of a map (n, n, n) with another mean and standard deviation; a constant map becomes the constant mean."""
    own = volume.std(correction=0)
    gain = torch.where(own > 0, std / own, torch.zeros_like(own))
    return (volume - volume.mean()) * gain + mean


def spectrum_ratio(low: Tensor, high: Tensor, mask: Tensor | None = None) -> Tensor:
    """Ratio per floor-binned shell, float64 (n//2+1,), of the mean amplitudes of two (masked) maps: high over low.

    0 where the low map has no amplitude: the ratio has no absolute floor, so units do not matter.
    """
    n = check_same_box(low, high)
    if mask is not None:
        check_same_box(low, mask)
        low, high = masked(low, mask), masked(high, mask)
    index = shell_index(n, low.device, "floor")
    of_low = radial_mean(forward(low).abs(), n, index=index)
    of_high = radial_mean(forward(high).abs(), n, index=index)
    return torch.where(of_low > 0, of_high / of_low, 0.0)


def combine(low: Tensor, high: Tensor, voxel_size_A: float, threshold_A: float, mask: Tensor | None = None) -> Tensor:
    """Join the low shells of one map (n, n, n) to the high shells of another at `threshold_A`.

    The low map is brought to the spectrum of the high one first; the change-over is a ramp of 5 shells that ends at the
    threshold, and both the low part and the result have the mean and standard deviation of their
    counterparts in `high`. The corners of the high map's spectrum are kept.
    """
    n = check_same_box(low, high)
    ramp = ramp_curve(n, shell_of_resolution(n, voxel_size_A, threshold_A), _EDGE_SHELLS, low.device)
    gain = expand(ramp.to(high.dtype), n)
    high_spectrum = forward(high)
    low_of_high = inverse(high_spectrum * gain, n)
    matched = expand(spectrum_ratio(low, high, mask).to(low.dtype), n, rounding="floor")
    low_part = inverse(forward(low) * (matched * gain), n)
    low_part = rescale(low_part, low_of_high.mean(), low_of_high.std(correction=0))
    joined = low_part + inverse(high_spectrum * (1.0 - gain), n)
    return rescale(joined, high.mean(), high.std(correction=0))
