"""What a training of heterogeneity made, by whatever method: a model, latents, and how it went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryobridge.core.latent import VolumeModel
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ..report.citations import Citation
from .run_folder import Latents


@dataclass(frozen=True)
class EpochLoss:
    """One pass over the particles.

    Attributes
    ----------
    epoch
        Counted from 1.
    loss
        Mean over its steps.
    terms
        What it is the sum of, by name, e.g. "data" and "kl".
    held_out
        Score of the particles kept out, at its end; None without any.
    seconds
        That it took.
    """

    epoch: int
    loss: float
    terms: Mapping[str, float]
    held_out: float | None = None
    seconds: float = 0.0


def _nothing() -> None:
    """There is nothing to remove."""


@dataclass(frozen=True)
class TrainedModel:
    """A finished training.

    Attributes
    ----------
    model
        On the device; one that encodes images is an `ImageEncoder` too.
    latents, log_variances
        (N, zdim) of all particles, float32; (N, 0) where the model has no latent.
    epochs
        Latents after epochs, counted from 1, as far as they were kept.
    curve
        Losses by epoch.
    kl
        (zdim,) mean information of each number of the latent, in nats; None without a latent.
    warnings
        What may be wrong with it, a sentence each.
    methods, references
        Paragraphs of what was done, and what they cite.
    used
        Every option of the training as it was used.
    seeds
        Of everything random, by name.
    agreement
        Share of the variance of these latents that those of each other seed tell, 0 to 1.
    particles
        With other poses, where these were trained too; None where they are as they came.
    clear
        Removes the checkpoints. Called once everything is written.
    """

    model: VolumeModel
    latents: Latents
    log_variances: Latents | None
    epochs: Mapping[int, Latents]
    curve: Sequence[EpochLoss]
    kl: NDArray[np.float32] | None = None
    warnings: Sequence[str] = ()
    methods: Sequence[str] = ()
    references: Sequence[Citation] = ()
    used: Mapping[str, Any] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    agreement: Sequence[float] = ()
    particles: ParticleSet | None = None
    clear: Callable[[], None] = _nothing
