"""Density and mask of a set of atoms."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fourier import apply_filter, frequency_axes, radius
from .masks import soft_edge


def atom_density(
    atoms: Tensor, n: int, voxel_size_A: float, bfactor_A2: float = 150.0, weights: Tensor | None = None
) -> Tensor:
    """Density (n, n, n) of atoms: trilinear splat, its transfer divided out, and a B-factor.

    Parameters
    ----------
    atoms
        (count, 3) in Angstrom about the box's centre, z, y, x; those outside the box count at its border.
    weights
        (count,) of the atoms; None: 1 each.
    """
    position = atoms / voxel_size_A + n // 2
    base = position.floor().long()
    part = position - base
    volume = torch.zeros(n**3)
    for corner in range(8):
        offset = torch.tensor([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
        weight = torch.where(offset == 1, part, 1 - part).prod(dim=1)
        weight = weight if weights is None else weight * weights
        place = (base + offset).clamp(0, n - 1)
        volume.index_add_(0, (place[:, 0] * n + place[:, 1]) * n + place[:, 2], weight)
    transfer = torch.ones(())
    for axis in frequency_axes(n):
        transfer = transfer * torch.sinc(axis / n).square()
    falloff = torch.exp(-bfactor_A2 / 4 * (radius(n) / (n * voxel_size_A)).square())
    return apply_filter(volume.reshape(n, n, n), falloff / transfer)


def atom_mask(atoms: Tensor, n: int, voxel_size_A: float, extend_A: float, edge_A: float) -> Tensor:
    """Soft mask (n, n, n): 1 within `extend_A` of an atom (count, 3), falling to 0 over `edge_A` more."""
    occupied = torch.zeros(n, n, n, dtype=torch.bool)
    z, y, x = (atoms / voxel_size_A + n // 2).round().long().clamp(0, n - 1).unbind(1)
    occupied[z, y, x] = True
    return soft_edge(occupied, edge_A / voxel_size_A, extend_A / voxel_size_A)
