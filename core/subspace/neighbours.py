"""Volumes of the particles around a point of the latent space, from their images alone: a check of any decoder."""

from __future__ import annotations

import torch
from torch import Tensor

from ..particles import volume_of_grid
from .consensus import Consensus, consensus_sums, grid_shells
from .images import SeenImages

NEIGHBOURS = 400
_DEVIATION_POWER = 0.3
"""Prior power of a deviation as a share of the consensus'."""


def nearest(latents: Tensor, z: Tensor, count: int = NEIGHBOURS) -> Tensor:
    """Which particles of latents (N, K) are nearest to z (K,), in deviations of each latent; nearest first."""
    scale = latents.std(dim=0).clamp_min(1e-30)
    distance = ((latents - z) / scale).square().sum(dim=1)
    return distance.topk(min(count, len(latents)), largest=False).indices


def local_volume(consensus: Consensus, residuals: SeenImages, radius: float) -> Tensor:
    """Volume (n, n, n): the consensus, and up to a radius what the residuals of some images add to it.

    Parameters
    ----------
    residuals
        Those of the images that were chosen, see `nearest`.
    """
    seen = residuals.within(radius)
    data, weight = consensus_sums(seen, consensus.noise)
    shells = grid_shells(seen.disc.box, data.device)
    prior = 2 / (_DEVIATION_POWER * consensus.prior_power[shells.clamp(max=len(consensus.prior_power) - 1)])
    values = torch.where(shells <= radius, data / (weight + prior), 0)
    return consensus.volume + volume_of_grid(values, seen.disc.box)
