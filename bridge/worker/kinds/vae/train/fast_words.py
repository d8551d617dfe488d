"""What the report says of the fast method: how it was done, what it cites, what may be wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cryobridge.core.latent import kept_out
from cryobridge.schemas.kinds.vae.train import LatentTraining

from ....heterogeneity.trained import EpochLoss
from ....heterogeneity.words import PPCA, VARIABILITY
from ....report.citations import Citation
from ....report.quantities import angstrom, counted
from .network import COLLAPSED_NATS, Schedule
from .seeds import seed_warnings
from .start import Start

FILM = Citation(
    "Perez et al. 2018",
    "Perez, Strub, de Vries, Dumoulin, Courville. FiLM: visual reasoning with a general conditioning layer. AAAI "
    "(2018).",
    "https://arxiv.org/abs/1709.07871",
)
VAE = Citation(
    "Kingma & Welling 2014",
    "Kingma, Welling. Auto-encoding variational Bayes. ICLR (2014).",
    "https://arxiv.org/abs/1312.6114",
)
REFERENCES: Sequence[Citation] = (PPCA, VARIABILITY, FILM, VAE)


def method_of(start: Start, training: LatentTraining, schedule: Schedule) -> str:
    """How it was done, as a paragraph."""
    shape = start.shape
    to_A = shape.box * start.images.pixel_size_A
    return (
        f"A consensus of {shape.box} voxels was reconstructed by a Wiener filter and taken away from the images, each "
        f"projected at its pose with its CTF. {shape.modes} linear modes to {angstrom(to_A / start.linear.radius)} "
        f"were fitted to what was left by expectation and maximisation ({PPCA.short}; {VARIABILITY.short}). "
        "Their scores "
        f"are what an encoder of two layers of {shape.encoder_width} begins with, and amounts of the modes, given by "
        f"latents through a network of the same size, are what volumes begin with{_curved(start)}. To these a "
        f"decoder of {shape.layers} residual layers of {shape.width}, with {shape.features} Fourier features at places "
        "drawn from the consensus and "
        f"latents of {shape.zdim} numbers that scale and shift them ({FILM.short}), added the spectrum of a deviation "
        f"to {angstrom(to_A / shape.radius)}. Both were trained as a variational autoencoder "
        f"({VAE.short}; weight of the divergence {schedule.beta:g}) for {counted(schedule.epochs, 'epoch')} in "
        f"batches of {training.batch} at a rate of up to {training.learning_rate:g}, seed {training.seed}; "
        f"{_kept_out(start, training)} kept out."
        + (
            " The modes were held against those of residuals permuted over poses, those of two halves of the "
            "particles, and the changes that small errors of poses make."
            if start.reality is not None
            else ""
        )
    )


def _kept_out(start: Start, training: LatentTraining) -> str:
    """How many particles; images of tilt series stay with their object."""
    if start.object_of is None:
        return f"{training.held_out} particles were"
    members = kept_out(len(start.images), training.held_out, training.seed, start.object_of)
    objects = len(torch.unique(start.object_of.cpu()[members]))
    were = "was" if objects == 1 else "were"
    return f"{counted(objects, 'particle')} ({counted(len(members), 'image')}) {were}"


def _curved(start: Start) -> str:
    """Of a latent of fewer numbers than modes."""
    if start.earlier is not None or start.shape.zdim >= start.shape.modes:
        return ""
    return "; these two were first trained to give back the scores from fewer numbers"


def warnings_of(
    kl: NDArray[np.float32], curve: Sequence[EpochLoss], agreement: Sequence[float], seed: int
) -> list[str]:
    """What speaks against a training, a sentence each.

    Parameters
    ----------
    kl
        (zdim,) information of each number of the latent, in nats.
    agreement
        Share of the latents' variance that each other seed's latents tell.
    seed
        The first one.
    """
    found = []
    if float(kl.max()) < COLLAPSED_NATS:
        found.append(
            f"The latents hold next to no information ({float(kl.sum()):.3f} nats): nothing was found that varies "
            "between these particles at this resolution."
        )
    elif unused := int((kl < COLLAPSED_NATS).sum()):
        found.append(f"{unused} of {len(kl)} numbers of the latent are not used (less than {COLLAPSED_NATS} nats).")
    looked = [one.held_out for one in curve if one.held_out is not None]
    if looked and looked[-1] > 0:
        found.append(
            f"Particles that were kept out are described worse than by the consensus alone (by {looked[-1]:.1f} nats "
            "each): what was learned is of no use for other particles."
        )
    elif len(looked) > 1 and looked[-1] > min(looked) + 1:
        found.append("Particles that were kept out were described better some epochs ago; train for fewer epochs.")
    return [*found, *seed_warnings(agreement, seed)]
