"""Encoder and mixing of modes learned from scores alone, before any image is shown: a curved subspace of the modes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..training import generator_at
from .film_model import FilmNetwork
from .film_task import information_of

_DRAWS = 21
_STEPS, _SCORES, _RATE = 300, 256, 5e-3
_LEAST_VARIANCE = 0.02
"""Of a score's error, as a share of the mode's own variance."""


def train_on_scores(network: FilmNetwork, scores: Tensor, prior_variance: Tensor, beta: float, seed: int) -> None:
    """Have a network of fewer numbers than modes give back scores as well as it can, in place.

    What is lowered is the misfit of the scores over their error, and the information in the latents: what the images
    would say if noise were all that the modes leave. It takes a second or two where the images take half a minute.

    Parameters
    ----------
    network
        On the CPU.
    scores
        (N, modes), of the linear model.
    prior_variance
        (modes,) of the scores. What their own variance lacks of it is their error.
    beta
        Weight of the information.
    """
    known = scores.detach().cpu()
    prior = prior_variance.detach().cpu()
    error = torch.maximum(prior - known.var(dim=0), _LEAST_VARIANCE * prior)
    optimiser = torch.optim.Adam([*network.encoder.parameters(), *network.mixing.parameters()], lr=_RATE)
    generator = generator_at(seed, _DRAWS)
    for step in range(_STEPS):
        for group in optimiser.param_groups:
            group["lr"] = _RATE * (1 - step / _STEPS)
        some = known[torch.randint(len(known), (_SCORES,), generator=generator)]
        mean, log_variance = network.encoder(some)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn(mean.shape, generator=generator)
        misfit = 0.5 * ((network.mixing(z) - some).square() / error).sum(dim=1)
        loss = (misfit + beta * information_of(mean, log_variance).sum(dim=1)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
