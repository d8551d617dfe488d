"""How densely a set of views samples Fourier space, from Euler angles alone.

A view measures the plane through the origin normal to its direction: on the sphere of directions, a great circle. The
density in a direction is the share of views whose circle passes within a small distance. Angles are
RELION's (rot, tilt, psi in degrees; psi turns a view in its own plane and plays no part). Vectors are in z, y, x order.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ..fourier import bin_directions, frequency_bins

# The distance used by the programs this follows: sqrt(5) voxels of a 64 grid, as a sine of angle.
DEFAULT_HALF_WIDTH = math.sqrt(5.0) / 64.0
_BINS_PER_FACE = 64
_ROWS = 1024


def view_directions(rot_tilt_psi_deg: Tensor) -> Tensor:
    """Projection directions in the map's frame, float64 unit vectors (m, 3) z, y, x, of angles (m, 3) in degrees.

    The third row of RELION's rotation matrix: x = sin(tilt) cos(rot), y = sin(tilt) sin(rot), z = cos(tilt).
    """
    if rot_tilt_psi_deg.dim() != 2 or rot_tilt_psi_deg.shape[1] != 3:
        raise ValueError(f"expected angles (m, 3), got shape {tuple(rot_tilt_psi_deg.shape)}")
    rot, tilt = torch.deg2rad(rot_tilt_psi_deg[:, 0].double()), torch.deg2rad(rot_tilt_psi_deg[:, 1].double())
    return torch.stack([tilt.cos(), tilt.sin() * rot.sin(), tilt.sin() * rot.cos()], dim=1)


def symmetric_views(views: Tensor, rotations: Tensor) -> Tensor:
    """All images (m * g, 3) of views (m, 3) z, y, x under a point group's rotation matrices (g, 3, 3) in x, y, z."""
    if rotations.dim() != 3 or tuple(rotations.shape[1:]) != (3, 3):
        raise ValueError(f"expected rotation matrices (g, 3, 3), got shape {tuple(rotations.shape)}")
    turned = torch.einsum("gij,mj->mgi", rotations.to(views), views.flip(1))
    return turned.reshape(-1, 3).flip(1)


def direction_density(views: Tensor, directions: Tensor, half_width: float = DEFAULT_HALF_WIDTH) -> Tensor:
    """Sampling density, float64 (d,), in directions (d, 3) by views (m, 3); 1 everywhere for evenly spread views.

    The share of views with |direction . view| <= half_width, over its expectation for even views, which is half_width
    itself (the zone of a sphere has an area proportional to its height).
    """
    if views.shape[0] == 0:
        raise ValueError("no views: a sampling density needs at least one")
    views = views.to(directions)
    shares = [((part @ views.T).abs() <= half_width).double().mean(dim=1) for part in torch.split(directions, _ROWS)]
    return torch.cat(shares) / half_width


def sampling_volume(
    rot_tilt_psi_deg: Tensor,
    n: int,
    *,
    symmetry: Tensor | None = None,
    half_width: float = DEFAULT_HALF_WIDTH,
    most_views: int = 10000,
    seed: int = 0,
    relative_to: Literal["peak", "even"] = "peak",
) -> Tensor:
    """Sampling density of each Fourier voxel, float32 (n, n, n//2+1), DC first, from angles (m, 3) in degrees.

    It depends on direction only. `symmetry` are the point group's rotation matrices (g, 3, 3) in x, y, z. Of more than
    `most_views` views, symmetric ones included, a seeded random draw is used (of 1000 particles at least). Relative to
    "peak" it is between 0 and 1, 1.1 times the share of the best direction, cut at 1, so that it can stand in for
    a 3DFSC; relative to "even" 1 means as many views as an even distribution would bring.
    """
    angles = rot_tilt_psi_deg
    most = max(1000, most_views // (1 if symmetry is None else symmetry.shape[0]))
    if angles.shape[0] > most:
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(angles.shape[0], generator=generator)[:most]
        angles = angles[chosen.to(angles.device)]
    views = view_directions(angles)
    if symmetry is not None:
        views = symmetric_views(views, symmetry)
    density = direction_density(views.float(), bin_directions(_BINS_PER_FACE, views.device), half_width)
    if relative_to == "peak":
        density = (1.1 * density / density.max()).clamp(max=1.0)
    out = density.float()[frequency_bins(n, _BINS_PER_FACE, views.device)]
    out[0, 0, 0] = 1.0
    return out
