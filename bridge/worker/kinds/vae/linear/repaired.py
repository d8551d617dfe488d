"""Poses repaired for all particles of a set, and the set with them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import torch

from cryobridge.core.subspace import SeenImages, consensus_in_parts, repair_in_parts, widest_radius
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.particles.particle_set import ParticleSet

from ....heterogeneity.fitted_images import members_of
from ....heterogeneity.images import PreparedImages
from ....heterogeneity.streaming import StreamedImages
from ....loop import Progress

_PASSES = 2
_RADIUS = 14 / 32
"""Of Nyquist, up to which images are looked at."""


@dataclass(frozen=True)
class RepairedSet:
    """Images and particles with new poses, and the middle particle's change.

    turned_deg, moved_px
        Of the prepared images.
    """

    images: PreparedImages
    particles: ParticleSet
    turned_deg: float
    moved_px: float

    @property
    def words(self) -> str:
        """What was done."""
        return (
            f"Poses were repaired in {_PASSES} passes: the middle particle was turned by {self.turned_deg:.1f} degrees "
            f"and moved by {self.moved_px:.2f} pixels; all that follows is with the new poses, which are in poses.npz. "
            "A refinement that starts from them is better still."
        )


def repaired(
    images: PreparedImages | StreamedImages, particles: ParticleSet, seed: int
) -> Generator[Progress | None, None, RepairedSet]:
    """Repair them; progress goes from 0 to 1.

    Raises
    ------
    InputInvalid
        If the images do not fit the memory.
    """
    if isinstance(images, StreamedImages) or particles.rotations is None or particles.shifts_A is None:
        raise InputInvalid(
            f"{particles.name}: {len(particles)} images of box {images.box} are too many to repair poses of at once; "
            "give a smaller 'box' or a 'selection'"
        )
    seen = SeenImages(images.disc, images.spectra, images.ctf, images.rotations)
    members = members_of(len(images), seed).to(images.spectra.device)
    turns = torch.eye(3, device=images.spectra.device).expand(len(images), 3, 3)
    moved = torch.zeros(len(images), 2, device=images.spectra.device)
    radius = min(max(_RADIUS * images.box / 2, 3.0), float(images.disc.radii[-1]), widest_radius(images.box))
    for number in range(_PASSES):
        yield Progress(f"repairing poses, pass {number + 1} of {_PASSES}", number / _PASSES)
        consensus, residuals = yield from consensus_in_parts(seen)
        found = yield from repair_in_parts(seen, consensus, residuals, radius, members=members, seed=seed)
        seen, turns, moved = found.images, turns @ found.turns, moved + found.moved_px
    pixels_A = (particles.pixel_size_A * particles.box / images.box)[:, None]
    better = replace(
        particles,
        rotations=particles.rotations @ turns.double().cpu().numpy(),
        shifts_A=particles.shifts_A + moved.double().cpu().numpy() * pixels_A,
    )
    cosine = (turns.diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2
    turned = np.degrees(float(torch.arccos(cosine.clamp(-1, 1)).median()))
    prepared = replace(images, spectra=seen.spectra, rotations=seen.rotations)
    return RepairedSet(prepared, better, float(turned), float(moved.norm(dim=1).median()))
