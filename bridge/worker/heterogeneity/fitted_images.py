"""The images that a linear model is fitted on."""

from __future__ import annotations

import torch
from torch import Tensor

from cryobridge.core.training import generator_at

FITTED_IMAGES = 20_000
"""As many are enough for a consensus and modes of low frequencies; latents are found of all."""
_SOME = 11


def members_of(count: int, seed: int) -> Tensor:
    """The images of so many that a fit is made on, (F,): all, or a random part of very many, in their order."""
    if count <= FITTED_IMAGES:
        return torch.arange(count)
    return torch.randperm(count, generator=generator_at(seed, _SOME))[:FITTED_IMAGES].sort().values
