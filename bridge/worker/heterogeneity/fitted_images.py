"""The images that a linear model is fitted on, and the fit step by step."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from cryobridge.core.subspace import Subspace, SubspaceFit
from cryobridge.core.training import generator_at

from ..loop import Progress

FITTED_IMAGES = 20_000
"""As many are enough for a consensus and modes of low frequencies; latents are found of all."""
_SOME = 11


def members_of(count: int, seed: int) -> Tensor:
    """The images of so many that a fit is made on, (F,): all, or a random part of very many, in their order."""
    if count <= FITTED_IMAGES:
        return torch.arange(count)
    return torch.randperm(count, generator=generator_at(seed, _SOME))[:FITTED_IMAGES].sort().values


def fitted_in_steps(fit: SubspaceFit, modes: int, iterations: int, seed: int) -> Generator[Progress, None, Subspace]:
    """The subspace after the last iteration; progress goes from 0 to 1."""
    steps = fit.steps(modes, iterations, seed=seed)
    found = next(steps)
    yield Progress(f"{modes} modes, iteration 1 of {iterations}", 1 / iterations)
    for number, found in enumerate(steps, 2):  # noqa: B007 - the last is returned
        yield Progress(f"{modes} modes, iteration {number} of {iterations}", number / iterations)
    return found
