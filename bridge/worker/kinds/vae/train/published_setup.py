"""What the options of the published method come to for given particles: training, network, objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.latent import published
from cryobridge.core.particles import soft_window
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.vae.train import MOST_HELD_OUT, LatentTraining, TrainOptions, VaeTrainJob
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ....heterogeneity.image_source import ImageSource
from ....heterogeneity.run_folder import Latents
from ....heterogeneity.tilt_series import weights_of

_BATCH, _RATE = 16, 1e-4


def published_training(
    options: TrainOptions, seed: int, count: int, objects: tuple[int, int] | None = None
) -> LatentTraining:
    """How the published method trains on so many images: Adam at a constant rate.

    Parameters
    ----------
    objects
        How many there are, and images of each (G, T); every image shows its own if None.
    """
    shown, images = (count, 1) if objects is None else objects
    return LatentTraining(
        batch=min(options.batch or _BATCH, count),
        learning_rate=options.learning_rate or _RATE,
        schedule="constant",
        weight_decay=options.weight_decay,
        gradient_clip=None,
        ema=0.0,
        held_out=min(options.held_out or 0, max(1, MOST_HELD_OUT // images), shown // 2),
        seed=seed,
        precision="bfloat16" if options.amp else "float32",
    )


def beta_of(options: TrainOptions) -> float | str:
    """Weight or target of the divergence: 1 over the numbers of a latent, if none is given."""
    return options.beta if options.beta is not None else 1.0 / max(options.latent_dimensions, 1)


def shape_of(options: TrainOptions, box: int) -> published.NetworkShape:
    """The network that options ask for."""
    radius = options.encoder_radius
    count = {"tilt": 2, "series": options.tilts}.get(options.encoder, 1)
    return published.NetworkShape(
        box=box,
        zdim=options.latent_dimensions,
        encoder=options.encoder if options.latent_dimensions else "none",
        encoder_layers=options.encoder_layers,
        encoder_width=options.encoder_width,
        encoder_radius=box / 2 if radius is None or radius < 1 else min(radius, box / 2),
        decoder_layers=options.decoder_layers,
        decoder_width=options.decoder_width,
        encoding=options.encoding,
        encoding_count=options.encoding_count or box // 2,
        feature_sigma=options.feature_sigma,
        domain=options.domain,
        activation=options.activation,
        tilts=count,
        tilt_layers=options.tilt_layers,
        tilt_width=options.tilt_width,
        tilt_embedding=options.tilt_embedding,
    )


def hartley_scale(options: TrainOptions, box: int) -> float:
    """What prepared spectra are multiplied with, so that the Hartley values of noise had variance 1 unwindowed.

    The published method divides by the deviation of the transforms of images before they are windowed, which is of
    noise and signal. This is of noise alone, so values come out larger: 1.11 times in trials at a signal to noise of
    .1. Prepared noise has variance 1 in each part, windowed, so 2 in a Hartley value.
    """
    window = soft_window(box, options.window_radius).square().mean() if options.window else torch.tensor(1.0)
    return float(torch.sqrt(window / 2))


def objects_of(particles: ParticleSet, options: TrainOptions) -> Tensor | None:
    """Which images show each object, (G, T) by rising dose; None where every image shows its own.

    An object with fewer images than T is shown by some of them again.

    Raises
    ------
    InputInvalid
        If the encoder is of several images, and the table does not say which belong together.
    """
    count = {"tilt": 2, "series": options.tilts}.get(options.encoder, 1)
    if count == 1 or not options.latent_dimensions:
        return None
    tilts = particles.tilts
    if tilts is None:
        raise InputInvalid(
            f"{particles.name}: does not say which images show one particle, as 'encoder: {options.encoder}' needs; "
            "give a table of a tilt series, with _rlnGroupName, tilted images ('tilt'), or 'encoder: resid'"
        )
    order = np.lexsort((np.arange(len(particles)), tilts.dose_e_A2, tilts.particle))
    _, starts, sizes = np.unique(tilts.particle[order], return_index=True, return_counts=True)
    places = starts[:, None] + np.arange(count)[None, :] % sizes[:, None]
    return torch.from_numpy(order[places].astype(np.int64))


def weights_for(job: VaeTrainJob, particles: ParticleSet, images: ImageSource) -> Callable[[Tensor], Tensor] | None:
    """How much pixels of images of a tilt series count, by dose and angle; None where all count alike.

    Source: Rangan et al. 2024, Nature Methods 21, 1537.
    """
    if particles.tilts is None or job.inputs.tilt is not None or not job.options.tilt_weights:
        return None

    def weights(members: Tensor) -> Tensor:
        found = weights_of(particles, members.cpu().numpy(), images.disc, images.pixel_size_A)
        if found is None:
            raise ValueError("a set without tilts has no weights of them")
        return found

    return weights


@dataclass(frozen=True)
class ObjectLatents:
    """Latents of objects as latents of images."""

    particles: ParticleSet
    objects: Tensor | None

    def of(self, found: Tensor) -> Latents:
        """Those (N, zdim) of images, of those (G, zdim) of objects."""
        values: NDArray[np.float32] = found.numpy().astype(np.float32)
        if self.objects is None or self.particles.tilts is None:
            return values
        _, which = np.unique(self.particles.tilts.particle, return_inverse=True)
        return values[which]
