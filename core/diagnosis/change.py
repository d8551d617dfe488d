"""What a correction did to a map: how much power it altered, by shell and polar angle, and how far voxels moved.

Both maps must be on one grey scale; nothing is fitted here, since a change of scale is a change.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..fourier import check_same_box, check_spectrum, forward, frequency_axes, friedel_weights, radius, shell_index

POLAR_BINS = 9
WELL_MEASURED, BADLY_MEASURED = 0.7, 0.3
"""Ours: 3DFSC from which on, and up to which, a Fourier voxel counts as measured well or badly."""


def power_changed(
    before: Tensor, after: Tensor, axis: Tensor, mask: Tensor | None = None, *, polar_bins: int = POLAR_BINS
) -> Tensor:
    """Share of a map's power that was altered, float64 (n//2+1, polar_bins).

    In each bin the sum of |A - B|^2 over the sum of |B|^2, with B before and A after: 0 is untouched, 1 replaced by as
    much power again. Polar bins are equal steps of the angle between a Fourier voxel and the axis, 0 (along it)
    to 90 degrees (across).

    Parameters
    ----------
    before, after
        Maps (n, n, n).
    axis
        Unit vector (3,) z, y, x, e.g. the worst-measured direction.
    mask
        Real-space mask (n, n, n), or None.
    polar_bins
        Number of polar bins.

    Returns
    -------
    Tensor
        NaN where a bin holds no voxel, or no power before.
    """
    n = check_same_box(before, after)
    if mask is not None:
        check_same_box(before, mask)
        before, after = before * mask, after * mask
    first, change = forward(before), forward(after - before)
    kz, ky, kx = frequency_axes(n, first.device)
    z, y, x = axis.to(first.real).unbind()
    cosine = ((kz * z + ky * y + kx * x).abs() / radius(n, first.device).clamp(min=0.5)).clamp(max=1.0)
    polar = (torch.rad2deg(cosine.acos()) * (polar_bins / 90.0)).long().clamp(max=polar_bins - 1)
    shells = n // 2 + 1
    shell = shell_index(n, first.device)
    place = torch.where(shell < shells, shell * polar_bins + polar, shells * polar_bins).reshape(-1)
    weight = friedel_weights(n, first.device, torch.float64)

    def total(spectrum: Tensor) -> Tensor:
        power = (spectrum.real.double().square() + spectrum.imag.double().square()) * weight
        sums = torch.bincount(place, power.reshape(-1), minlength=shells * polar_bins + 1)
        return sums[: shells * polar_bins].view(shells, polar_bins)

    there = total(first)
    return torch.where(there > 0, total(change) / there, math.nan)


def rms_difference(before: Tensor, after: Tensor, mask: Tensor | None = None) -> float:
    """RMS of after - before over the RMS deviation of `before`, maps (n, n, n); 0 is untouched.

    Both are weighted by the square of the mask (n, n, n).

    Raises
    ------
    ValueError
        If `before` is constant inside the mask.
    """
    check_same_box(before, after)
    weight = torch.ones_like(before) if mask is None else mask.square()
    before, after, weight = before.double(), after.double(), weight.double()
    level = (before * weight).sum() / weight.sum()
    scale = float(((before - level).square() * weight).sum())
    if not scale > 0:
        raise ValueError("the map is constant inside the mask: a relative difference has no meaning")
    return math.sqrt(float(((after - before).square() * weight).sum()) / scale)


def power_changed_where(before: Tensor, after: Tensor, region: Tensor, mask: Tensor | None = None) -> float:
    """Share of the power altered in the Fourier voxels of a boolean region (n, n, n//2+1); NaN where there is none."""
    n = check_same_box(before, after)
    check_spectrum(region, n)
    if mask is not None:
        check_same_box(before, mask)
        before, after = before * mask, after * mask
    weight = friedel_weights(n, before.device, torch.float64) * region

    def total(volume: Tensor) -> float:
        return float((forward(volume).abs().double().square() * weight).sum())

    there = total(before)
    return total(after - before) / there if there > 0 else math.nan


def power_changed_by_measure(
    before: Tensor, after: Tensor, fsc3d: Tensor, region: Tensor, mask: Tensor | None = None
) -> tuple[float, float]:
    """Shares of the power altered in well and in badly measured Fourier voxels; NaN where there are none.

    Parameters
    ----------
    before, after, mask
        Maps (n, n, n).
    fsc3d
        (n, n, n//2+1), what says how well a voxel is measured.
    region
        Boolean (n, n, n//2+1), the voxels that count.
    """
    well = power_changed_where(before, after, region & (fsc3d >= WELL_MEASURED), mask)
    return well, power_changed_where(before, after, region & (fsc3d <= BADLY_MEASURED), mask)
