"""Consensus, modes and their controls, found on all images or on a random part of very many."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from cryobridge.core.subspace import (
    Consensus,
    Parts,
    SeenImages,
    Subspace,
    SubspaceFit,
    consensus_in_parts,
    local_volume,
    nearest,
)

from ....heterogeneity.fitted_images import fitted_in_steps, members_of, more_in_steps, shown_in_steps
from ....heterogeneity.image_source import ImageSource
from ....heterogeneity.reality import SubspaceControls, controls_of
from ....jobs.context import Context
from ....loop import Progress, scaled

TRIED_MODES = 4


@dataclass(frozen=True)
class Fitted:
    """What was found.

    Attributes
    ----------
    members
        (F,) the images that it was found on.
    consensus, subspace, controls
        Of these.
    modes
        How many of the modes are kept: those that were asked for, or those above noise or in both halves.
    local_agreement
        Correlation of what the first mode adds, from low to high, with what the images nearest to both ends show.
    """

    members: Tensor
    consensus: Consensus
    subspace: Subspace
    controls: SubspaceControls
    modes: int
    local_agreement: float


def fitted(
    images: ImageSource,
    radius: float,
    modes: int | None,
    iterations: int,
    seed: int,
    context: Context,
    object_of: Tensor | None = None,
) -> Generator[Progress | None, None, Fitted]:
    """Find them; progress goes from 0 to 1.

    Parameters
    ----------
    object_of
        (N,) which object each image shows; None where every image shows its own.
    """
    members = members_of(len(images), seed).to(images.disc.points.device)
    some = yield from scaled(0.0, 0.1, shown_in_steps(images, members))
    yield Progress(f"consensus of {len(some)} images", 0.1)
    with context.parking.holding(lambda: [some.spectra, some.ctf, some.rotations]):
        consensus, residuals = yield from consensus_in_parts(some)
    held = [some.spectra, some.ctf, some.rotations, residuals, consensus.volume]
    with context.parking.holding(lambda: held):
        fit = SubspaceFit(some.with_spectra(residuals), radius, consensus.prior_power)
        tried = modes or TRIED_MODES
        subspace = yield from scaled(0.2, 0.5, fitted_in_steps(fit, tried, iterations, seed))
        objects = None if object_of is None else object_of[members.cpu()]
        control = controls_of(some, consensus, fit, subspace, residuals, seed=seed, object_of=objects)
        controls = yield from scaled(0.5, 0.85, control)
        if modes is None:
            more = more_in_steps(fit, subspace, controls.noise, iterations, seed)
            subspace = yield from scaled(0.85, 0.95, more)
        agreement = yield from _local_agreement(some, consensus, fit, subspace, residuals)
    kept = controls.worth_keeping if subspace.modes == tried else subspace.modes
    return Fitted(members, consensus, subspace, controls, modes or kept, agreement)


def _local_agreement(
    images: SeenImages, consensus: Consensus, fit: SubspaceFit, subspace: Subspace, residuals: Tensor
) -> Parts[float]:
    """Of the first mode with the difference of two volumes of the images at its ends, which know nothing of it."""
    z = yield from fit.latents_in_parts(subspace)
    radius = subspace.grid.radius
    ends = []
    for side in (-1.0, 1.0):
        middle = torch.zeros_like(z[0])
        middle[0] = side * 1.3 * z[:, 0].std()
        members = nearest(z, middle, max(8, min(400, len(z) // 8)))
        ends.append(local_volume(consensus, images.with_spectra(residuals).of(members), radius))
    difference = (ends[1] - ends[0]).flatten()
    mode = subspace.first(1).volumes()[0].flatten()
    return float(torch.corrcoef(torch.stack([difference, mode]))[0, 1])
