"""Which directions of Fourier space are measured well, and which badly, against the best of the same pair.

A 3DFSC of a narrow cone is itself noise where little is measured, so a single voxel says little. A direction is judged
by the mean of the 3DFSC over all shells up to a limit, and by its neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fourier import bin_directions, check_spectrum, frequency_bins, friedel_weights, shell_counts, shell_index

PER_FACE = 8
"""Bins along a face of the cube: steps of 11 degrees."""
SMOOTHED_DEG = 16.0
"""Ours: over so much chance evens out in a box of 64, and a cone of 30 degrees stays one."""
BADLY_BELOW, WELL_FROM = 0.72, 0.82
"""Ours: shares of the 3DFSC of the best tenth of the directions, up to which a direction is measured badly without
a doubt, and from which it is measured well. Simulated pairs (box 48 and 64, limit 5.5 A) without a bad direction stay
above 0.81, and the middle of a cone sampled at a fiftieth of the rest is below 0.75."""
_BEST = 0.9


@dataclass(frozen=True)
class DirectionQuality:
    """How well directions are measured.

    Attributes
    ----------
    index
        Direction bin of every voxel of the half-spectrum, int64 (n, n, n // 2 + 1).
    directions
        Unit vectors (b, 3) z, y, x in the middle of each bin.
    mean
        Mean 3DFSC by bin, float64 (b,).
    badly
        How far a bin is measured badly, float64 (b,): 0, well; 1, badly; between them in part.
    kernel
        Weights (b, b) by which bins are averaged with their neighbours, float64.
    """

    index: Tensor
    directions: Tensor
    mean: Tensor
    badly: Tensor
    kernel: Tensor


def direction_quality(fsc3d: Tensor, last_shell: int) -> DirectionQuality:
    """Judge directions by a 3DFSC (n, n, n // 2 + 1), DC first, up to a shell.

    In an isotropic pair no direction is measured badly.
    """
    n = fsc3d.shape[0]
    check_spectrum(fsc3d, n)
    device = fsc3d.device
    index = frequency_bins(n, PER_FACE, device).long()
    shell = shell_index(n, device)
    directions = bin_directions(PER_FACE, device).double()
    # Each shell counts as much as any other, or the outermost, where least is known, would decide.
    share = (
        friedel_weights(n, device, torch.float64)
        / shell_counts(n, device).double().clamp(min=1.0)[shell.clamp(max=n // 2)]
    )
    share = torch.where((shell >= 1) & (shell <= last_shell), share, 0.0)
    count = directions.shape[0]
    kernel = smoothing_kernel(directions)
    sums = torch.bincount(index.view(-1), (share * fsc3d.double().clamp(0.0, 1.0)).view(-1), minlength=count)
    weights = torch.bincount(index.view(-1), share.view(-1), minlength=count)
    mean = kernel @ sums / (kernel @ weights).clamp(min=1e-12)
    relative = mean / mean.quantile(_BEST).clamp(min=1e-12)
    badly = ((WELL_FROM - relative) / (WELL_FROM - BADLY_BELOW)).clamp(0.0, 1.0)
    return DirectionQuality(index, directions, mean, badly, kernel)


def smoothing_kernel(directions: Tensor, smoothed_deg: float = SMOOTHED_DEG) -> Tensor:
    """Weights (b, b) that fall with the angle between directions (b, 3), or their opposites, as a Gaussian would."""
    cosine = (directions @ directions.T).abs().clamp(max=1.0)
    return ((cosine - 1.0) / (1.0 - math.cos(math.radians(smoothed_deg)))).exp()


def signal_by_view(quality: DirectionQuality, views: Tensor) -> Tensor:
    """Mean 3DFSC of what is seen from each of several views (k, 3) z, y, x, float64 (k,).

    A projection holds the plane of Fourier space across its view (projection-slice theorem), so this is the mean over
    the bins near that plane.
    """
    height = (views.to(quality.directions) @ quality.directions.T).abs().clamp(max=1.0)
    near = (-(height.asin() / math.radians(SMOOTHED_DEG)).square() / 2.0).exp()
    return near @ quality.mean / near.sum(1)
