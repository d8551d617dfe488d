"""What a backprojection gave: maps, how far the half-maps agree under several masks, and whether poses and CTF fit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cryobridge.core.directional import Directions, by_direction
from cryobridge.core.fourier import fsc, resolution
from cryobridge.core.particles import best_regularisation, volume_of_sums
from cryobridge.core.relion import Agreement, agreement
from cryobridge.core.volume import soft_sphere, solvent_mask

HalfSource = Literal["table", "alternate"]

_SPHERE, _SPHERE_EDGE = 0.8, 0.1
"""Radius and edge of the spherical mask, in halves of the box."""
_LOOSE_A, _LOOSE_EDGE_A = 25.0, 15.0
_TIGHT_A, _TIGHT_EDGE_A = 6.0, 6.0
"""How far masks reach beyond the density, and the width of their edges, as is the custom in CryoSPARC's reports."""
_MASK_LOWPASS_A = 15.0


@dataclass(frozen=True)
class Backprojected:
    """Maps (n, n, n) and their FSC.

    Attributes
    ----------
    volume, half1, half2
        The map of all images and the half-maps.
    mask
        The tight mask; None where nothing stands out of the map.
    curves
        FSC (n // 2 + 1,) by name: unmasked, sphere and, with a mask, loose, tight, randomised, corrected.
    agreed
        The curve that is quoted, and whether the tight mask makes it worse.
    resolution_A
        Where the quoted curve falls below 0.143; infinite where the half-maps agree nowhere.
    directions
        The same by direction; None where the half-maps agree nowhere.
    regularisation
        As it was used.
    """

    volume: Tensor
    half1: Tensor
    half2: Tensor
    mask: Tensor | None
    curves: dict[str, Tensor]
    agreed: Agreement
    voxel_size_A: float
    resolution_A: float
    directions: Directions | None
    regularisation: float

    @property
    def box(self) -> int:
        """Voxels along a side."""
        return self.volume.shape[-1]

    @property
    def randomised_from_A(self) -> float | None:
        """Resolution from which phases were randomised; None where they were not, or the mask was not used."""
        start = self.agreed.curves.randomised_from
        return None if start is None or self.agreed.mask_hurts else self.box * self.voxel_size_A / start


def backprojected(
    grids: tuple[Tensor, Tensor], voxel_size_A: float, regularisation: float | None, seed: int, scale: float
) -> Backprojected:
    """Make the maps of the sums of two half-sets, (3, n, n, n // 2 + 1) each, and compare the half-maps.

    Parameters
    ----------
    regularisation
        Found from the half-maps if None.
    seed
        Of random phases.
    scale
        That maps are multiplied with.
    """
    every = grids[0] + grids[1]
    n = every.shape[1]
    sphere = soft_sphere(n, _SPHERE * n / 2, _SPHERE_EDGE * n / 2, every.device)
    if regularisation is None:
        around = _solvent(volume_of_sums(every), voxel_size_A, _LOOSE_A, _LOOSE_EDGE_A)
        regularisation = best_regularisation(grids, (sphere if around is None else around) > 0.5)
    volume, half1, half2 = (volume_of_sums(grid, regularisation) * scale for grid in (every, *grids))
    mask = _solvent(volume, voxel_size_A, _TIGHT_A, _TIGHT_EDGE_A)
    agreed = agreement(half1, half2, mask, seed=seed)
    curves = _curves(half1, half2, sphere, mask, agreed)
    if mask is not None:
        loose = _solvent(volume, voxel_size_A, _LOOSE_A, _LOOSE_EDGE_A)
        curves |= {} if loose is None else {"loose": fsc(half1, half2, loose)}
    reached_A = resolution(agreed.used, voxel_size_A, box=n)
    used = None if agreed.mask_hurts else mask
    directions = None
    if math.isfinite(reached_A):
        directions = by_direction(
            half1,
            half2,
            used,
            voxel_size_A,
            overall_A=reached_A,
            for_mask=None if used is None else agreed.curves,
        )
    return Backprojected(
        volume, half1, half2, mask, curves, agreed, voxel_size_A, reached_A, directions, regularisation
    )


def _curves(half1: Tensor, half2: Tensor, sphere: Tensor, mask: Tensor | None, agreed: Agreement) -> dict[str, Tensor]:
    """FSC by name, without a mask, in a sphere, and in the tight mask if there is one."""
    found = {"unmasked": agreed.curves.unmasked, "sphere": fsc(half1, half2, sphere)}
    if mask is None:
        return found
    tight = {"tight": agreed.curves.masked, "randomised": agreed.curves.randomised}
    return {**found, **tight, "corrected": agreed.curves.corrected}


def _solvent(volume: Tensor, voxel_size_A: float, extend_A: float, edge_A: float) -> Tensor | None:
    """A mask around the density, (n, n, n); None where nothing stands out."""
    try:
        mask = solvent_mask(
            volume,
            voxel_size_A,
            lowpass_A=max(_MASK_LOWPASS_A, 4 * voxel_size_A),
            extend=extend_A / voxel_size_A,
            edge=edge_A / voxel_size_A,
        )
    except ValueError:
        return None
    return mask if bool((mask < 0.5).any()) else None


def half_sets_of(half: Tensor, particle: Tensor, wanted: HalfSource) -> tuple[Tensor, HalfSource]:
    """Which half-set each image belongs to, (N,) 0 or 1, and where that is from.

    Parameters
    ----------
    half
        (N,) 1 or 2 as the table says, 0 where it does not.
    particle
        (N,) which particle an image shows: images of one are never in both.
    wanted
        "table" takes the table's half-sets only where every image has one and both are there.
    """
    if wanted == "table" and bool((half > 0).all()) and bool((half == 1).any()) and bool((half == 2).any()):
        return half - 1, "table"
    _, order = torch.unique(particle, return_inverse=True)
    return order % 2, "alternate"
