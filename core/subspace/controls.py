"""Whether a subspace is of the particles, and not of noise, wrong poses or contrast: what its modes have in common."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .band_grid import BandGrid
from .fit import Subspace, real_columns

NULL_FACTOR = 1.5
"""A mode is kept whose eigenvalue is above so many times the first of the null, as the trials had it."""


@dataclass(frozen=True)
class AgainstNoise:
    """Eigenvalues (K,) of the residuals, and of the same residuals permuted over the poses."""

    eigenvalues: Tensor
    null: Tensor

    @property
    def ratio(self) -> float:
        """The first eigenvalue over the first of the null."""
        return float(self.eigenvalues[0] / self.null[0])

    @property
    def kept(self) -> int:
        """How many of the first modes are above the null."""
        return self.above(self.eigenvalues)

    def above(self, eigenvalues: Tensor) -> int:
        """How many of the first of any eigenvalues (J,) of the same residuals are above the null."""
        above = eigenvalues.cpu() > NULL_FACTOR * self.null[0]
        return int(above.long().cumprod(0).sum())


def shared_directions(first: Subspace, second: Subspace) -> Tensor:
    """Cosines (K,) of the principal angles between two subspaces of the same grid, falling: 1 where both have it."""
    one, other = (real_columns(found.grid, found.basis) for found in (first, second))
    cosines: Tensor = torch.linalg.svdvals(one.T @ other)
    return cosines.clamp(max=1).float()


def pose_tangents(volume: Tensor) -> Tensor:
    """What small errors of poses look like (6, n, n, n): derivatives along x, y, z, and by turns about x, y, z.

    The gradient G and r x G of a volume; turns are by one radian, moves by one voxel.
    """
    found = list(_gradients(volume))
    dx, dy, dz = found
    axis = torch.arange(volume.shape[-1], device=volume.device, dtype=volume.dtype) - volume.shape[-1] // 2
    x, y, z = axis[None, None, :], axis[None, :, None], axis[:, None, None]
    return torch.stack([dx, dy, dz, y * dz - z * dy, z * dx - x * dz, x * dy - y * dx])


def share_within(subspace: Subspace, volumes: Tensor) -> Tensor:
    """Share (K,) of each mode's power that lies in the span of volumes (J, n, n, n), 0 to 1."""
    span = real_columns(subspace.grid, subspace.grid.spectra_of(volumes))
    axes, _ = torch.linalg.qr(span / span.norm(dim=0).clamp_min(1e-30))
    inside: Tensor = axes.T @ real_columns(subspace.grid, subspace.basis)
    return inside.square().sum(dim=0).float()


def power_within(grid: BandGrid, volume: Tensor) -> float:
    """Power of a volume (n, n, n) on a grid, in the units of the eigenvalues of modes on it."""
    return float(real_columns(grid, grid.spectra_of(volume[None])).square().sum())


def low_passed(volume: Tensor, radius: float) -> Tensor:
    """A volume (n, n, n) without what lies beyond a radius, in cycles per box."""
    side = volume.shape[-1]
    whole = torch.fft.fftfreq(side, 1 / side, device=volume.device)
    half = torch.fft.rfftfreq(side, 1 / side, device=volume.device)
    beyond = (whole[:, None, None] ** 2 + whole[None, :, None] ** 2 + half**2).sqrt() > radius
    found: Tensor = torch.fft.irfftn(torch.fft.rfftn(volume.float()).masked_fill(beyond, 0), s=volume.shape)
    return found


def _gradients(volume: Tensor) -> Iterator[Tensor]:
    """Derivatives along x, y, z, by voxel."""
    side = volume.shape[-1]
    spectrum = torch.fft.rfftn(volume)
    whole = torch.fft.fftfreq(side, device=volume.device)
    half = torch.fft.rfftfreq(side, device=volume.device)
    # Nyquist has no sign, so it has no derivative.
    whole[side // 2], half[-1] = 0.0, 0.0
    for frequency in (half[None, None, :], whole[None, :, None], whole[:, None, None]):
        yield torch.fft.irfftn(spectrum * (2j * math.pi * frequency), s=volume.shape)
