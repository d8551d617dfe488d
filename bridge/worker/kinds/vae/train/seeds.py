"""Trainings of the published method that differ in their seed: how far the first one's latents can be relied on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

import torch

from cryobridge.core.latent import shared_variance
from cryobridge.schemas.kinds.vae.train import VaeTrainJob
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ....heterogeneity.image_source import ImageSource
from ....heterogeneity.trained import TrainedModel
from ....jobs.context import Context
from ....loop import Progress, scaled
from .published import train_published

_LITTLE_AGREEMENT = 0.8


def train_seeds(
    job: VaeTrainJob, context: Context, particles: ParticleSet, images: ImageSource
) -> Generator[Progress | None, None, TrainedModel]:
    """Train the published network once for each seed; what the first made, and how far the others' latents tell its.

    Raises as `train_published`; progress goes from 0 to 1. Of the others only latents are kept.
    """
    first, last, count = job.options.seed, job.options.seed + job.options.seeds, job.options.seeds
    made = yield from scaled(0.0, 1 / count, train_published(job, context, particles, images, first))
    mean, clears, agreement = torch.from_numpy(made.latents), [made.clear], []
    for index, seed in enumerate(range(first + 1, last), 1):
        part = train_published(job, context, particles, images, seed)
        other = yield from scaled(index / count, (index + 1) / count, part)
        agreement.append(shared_variance(mean, torch.from_numpy(other.latents)))
        clears.append(other.clear)
    return replace(
        made,
        agreement=agreement,
        warnings=[*made.warnings, *seed_warnings(agreement, first)],
        seeds={f"network {number}": seed for number, seed in enumerate(range(first, last), 1)},
        clear=lambda: _all(clears),
    )


def seed_warnings(agreement: Sequence[float], first: int) -> list[str]:
    """What to say where the seeds after the first tell little of the variance of its latents."""
    return [
        f"Seed {number} tells {100 * share:.0f} % of the variance of these latents: a training from another seed finds "
        "something else, so read single components with care."
        for number, share in enumerate(agreement, first + 1)
        if share < _LITTLE_AGREEMENT
    ]


def _all(clears: Sequence[Callable[[], None]]) -> None:
    for clear in clears:
        clear()
