"""A few volumes along the first component of the latents, for a first look."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.latent import VolumeModel

from ....heterogeneity.decoding import decoded
from ....heterogeneity.run_folder import Latents

PERCENTILES = (5, 27.5, 50, 72.5, 95)


@dataclass(frozen=True)
class Along:
    """Volumes along the first component, each at the particle nearest to its place.

    Attributes
    ----------
    members
        Which particles they are at, K.
    volumes
        (n, n, n) each, on the host.
    components
        (N, C) of all particles, by falling variance.
    shares
        (C,) of the variance.
    """

    members: list[int]
    volumes: list[Tensor]
    components: NDArray[np.float64]
    shares: NDArray[np.float64]


def along_first_component(model: VolumeModel, latents: Latents) -> Generator[None, None, Along]:
    """Volumes at percentiles of the first component, where particles are; none of a model without a latent."""
    if not latents.shape[1]:
        return Along([], [], np.zeros((len(latents), 0)), np.zeros(0))
    centred = latents.astype(np.float64) - latents.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred / max(len(latents) - 1, 1))
    components = centred @ vectors[:, ::-1]
    shares = np.clip(values[::-1], 0, None) / max(float(np.clip(values, 0, None).sum()), 1e-300)
    wanted = np.zeros((len(PERCENTILES), components.shape[1]))
    wanted[:, 0] = np.percentile(components[:, 0], PERCENTILES)
    # A place along the axis may lie where no particle is: what is shown there would be of no particle.
    nearest = [int(((components - place) ** 2).sum(axis=1).argmin()) for place in wanted]
    volumes = yield from volumes_at(model, latents[nearest])
    return Along(nearest, volumes, components, shares)


def volumes_at(model: VolumeModel, latents: Latents) -> Generator[None, None, list[Tensor]]:
    """The volume (n, n, n) at each latent (K, d), on the host; a rest in between for whoever waits."""
    volumes = []
    for volume in decoded(model, latents, model.held()[0].device):
        if volume is not None:
            volumes.append(volume.cpu())
        yield
    return volumes
