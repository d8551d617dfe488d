"""Whitening of maps: flatten the radial amplitude spectrum, or the spectrum over directions, within a resolution band.

Gains are ratios of the map's own amplitudes, so the result scales with the map: units never matter.

References
----------
The steps are those of spIsoNet (Liu et al. 2025, doi 10.1038/s41592-024-02505-1); differences are said where they are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .directions import bin_directions, frequency_bins
from .shells import expand, radial_mean, shell_index, shell_of_resolution
from .transforms import box_size, check_same_box, forward, friedel_weights, inverse, radius

_BINS_PER_FACE = 48  # direction bins of about 2 degrees, well under the smallest sensible cone


def whitening_curve(
    volume: Tensor,
    voxel_size_A: float,
    low_resolution_A: float = 10.0,
    high_resolution_A: float = 3.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Gain per shell, float64 (n//2+1,), that levels the mean amplitude of (n, n, n) to that of the low shell.

    With A(i) the mean amplitude of shell i of the (masked) map and i_low, i_high the whole parts of the shells of the
    two resolutions: A(i_low) / A(i) for i_low < i < i_high, 1 elsewhere and in shells without amplitude.
    """
    n = box_size(volume)
    if low_resolution_A <= high_resolution_A:
        raise ValueError(
            f"whitening needs a low resolution coarser than the high one, got {low_resolution_A} and "
            f"{high_resolution_A} A"
        )
    if mask is not None:
        check_same_box(volume, mask)
        volume = volume * mask
    amplitude = radial_mean(forward(volume).abs(), n)
    low = min(int(shell_of_resolution(n, voxel_size_A, low_resolution_A)), n // 2)
    high = int(shell_of_resolution(n, voxel_size_A, high_resolution_A))
    shell = torch.arange(n // 2 + 1, device=volume.device)
    used = (shell > low) & (shell < high) & (amplitude > 0)
    return torch.where(used, amplitude[low] / amplitude.clamp(min=torch.finfo(torch.float64).tiny), 1.0)


def whiten(
    volume: Tensor,
    voxel_size_A: float,
    low_resolution_A: float = 10.0,
    high_resolution_A: float = 3.0,
    mask: Tensor | None = None,
) -> Tensor:
    """Whiten a map (n, n, n) between two resolutions; `mask` (n, n, n) is for the estimate only.

    Unlike the published program there is no absolute floor under the amplitudes, which crushed maps in small
    units, and the corners of the spectrum are left as they are.
    """
    n = box_size(volume)
    curve = whitening_curve(volume, voxel_size_A, low_resolution_A, high_resolution_A, mask)
    return inverse(forward(volume) * expand(curve.to(volume.dtype), n, beyond=1.0), n)


def angular_gain(
    amplitude: Tensor, n: int, band: Tensor, half_angle_deg: float = 5.0, largest_gain: float = 10.0
) -> Tensor:
    """Gain (n, n, n//2+1) that levels the mean amplitude over directions in a band of a half-spectrum.

    Each direction's mean is taken over a double cone about it, of amplitudes relative to their shell's mean, so that
    the fall-off with resolution plays no part. Voxels outside the band have gain 1. Directions that hold next to
    nothing are raised by `largest_gain` at most.
    """
    index = shell_index(n, amplitude.device)
    shell_mean = radial_mean(amplitude, n, index=index)
    level = expand(torch.where(shell_mean > 0, 1.0 / shell_mean, 0.0), n, index=index)
    weights = (friedel_weights(n, amplitude.device) * band).double()
    direction = frequency_bins(n, _BINS_PER_FACE, amplitude.device)
    bins = 3 * _BINS_PER_FACE**2
    total = torch.bincount(direction.view(-1), (amplitude * level * weights).reshape(-1), minlength=bins)
    count = torch.bincount(direction.view(-1), weights.reshape(-1), minlength=bins)
    centres = bin_directions(_BINS_PER_FACE, amplitude.device)
    sums = torch.stack([total, count], dim=1).float()
    smooth = torch.cat(
        [
            (centres[start : start + 1024] @ centres.T).abs().ge(math.cos(math.radians(half_angle_deg))).float() @ sums
            for start in range(0, bins, 1024)
        ]
    )
    mean = smooth[:, 0] / smooth[:, 1].clamp(min=1.0)
    overall = total.sum() / count.sum().clamp(min=1.0)
    gain = torch.where(mean > 0, overall.float() / mean, torch.ones_like(mean)).clamp(max=largest_gain)
    return torch.where(band, gain[direction], 1.0)


def angular_whiten(
    volume: Tensor,
    voxel_size_A: float,
    low_resolution_A: float,
    high_resolution_A: float,
    *,
    half_angle_deg: float = 5.0,
    largest_gain: float = 10.0,
) -> Tensor:
    """Level the amplitudes of a map (n, n, n) over directions between two resolutions.

    The band's part of the result keeps its RMS; everything outside the band stays as it is.
    """
    n = box_size(volume)
    low = shell_of_resolution(n, voxel_size_A, low_resolution_A)
    high = shell_of_resolution(n, voxel_size_A, high_resolution_A)
    distance = radius(n, volume.device)
    band = (distance >= low) & (distance <= min(high, n // 2))
    if not bool(band.any()):
        raise ValueError(f"no Fourier voxels between {low_resolution_A} and {high_resolution_A} A in a box of {n}")
    spectrum = forward(volume)
    gain = angular_gain(spectrum.abs(), n, band, half_angle_deg, largest_gain).to(volume.dtype)
    weights = (friedel_weights(n, volume.device) * band).double()
    power = spectrum.abs().double().square() * weights
    after = (power * gain.double().square()).sum()
    keep = (power.sum() / after).sqrt() if float(after) > 0 else torch.ones_like(after)
    return inverse(torch.where(band, spectrum * gain * keep.to(volume.dtype), spectrum), n)
