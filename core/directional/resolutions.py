"""How far a 3DFSC reaches by direction."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..fourier import dips, fibonacci_directions, radial_mean, radius, shell_index
from .correlation import crossing_radius

_DIRECTIONS = 500
_FEWEST_VOXELS = 4.0


def direction_resolutions(fsc3d: Tensor, voxel_size_A: float, half_angle_deg: float) -> tuple[Tensor, Tensor]:
    """Return directions (k, 3) z, y, x and the resolution in A of each, where the 3DFSC first falls below 0.143.

    Shells in which a cap of the half-angle holds fewer than four voxels are taken as measured: there the 3DFSC is
    the phase of one voxel or two, and a direction is not lost by a chance value at 80 A. So are dips of its mean over
    all directions, see `dips`.

    Parameters
    ----------
    fsc3d
        (n, n, n // 2 + 1), DC first; 0 beyond its limit.
    voxel_size_A, half_angle_deg
        Of the maps, and of the cone it was computed with.
    """
    n = fsc3d.shape[0]
    cap = 2.0 * math.pi * (1.0 - math.cos(math.radians(half_angle_deg)))
    sparse = radius(n, fsc3d.device) < math.sqrt(_FEWEST_VOXELS / cap)
    index = shell_index(n, fsc3d.device)
    for first, last in dips(radial_mean(fsc3d, n, index=index)):
        sparse |= (index >= first) & (index <= last)
    judged = torch.where(sparse & (fsc3d != 0.0), 1.0, fsc3d)
    directions = fibonacci_directions(_DIRECTIONS, fsc3d.device)
    return directions, n * voxel_size_A / crossing_radius(judged, directions, 0.143).clamp(min=1.0)


def resolution_range(fsc3d: Tensor, voxel_size_A: float, half_angle_deg: float = 10.0) -> tuple[float, float]:
    """Return the best and the worst resolution in A over directions of a 3DFSC (n, n, n // 2 + 1)."""
    _, resolutions = direction_resolutions(fsc3d, voxel_size_A, half_angle_deg)
    return float(resolutions.min()), float(resolutions.max())
