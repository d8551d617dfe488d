"""The images that a linear model is fitted on, and the fit step by step."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from cryobridge.core.subspace import AgainstNoise, SeenImages, Subspace, SubspaceFit
from cryobridge.core.training import generator_at

from ..loop import Progress
from .image_source import ImageSource

FITTED_IMAGES = 20_000
"""As many are enough for a consensus and modes of low frequencies; latents are found of all."""
MANY_MODES = 12
"""That are tried where all of the first are above noise."""
_SOME = 11
_IMAGES_AT_ONCE = 1024


def members_of(count: int, seed: int) -> Tensor:
    """The images of so many that a fit is made on, (F,): all, or a random part of very many, in their order."""
    if count <= FITTED_IMAGES:
        return torch.arange(count)
    return torch.randperm(count, generator=generator_at(seed, _SOME))[:FITTED_IMAGES].sort().values


def shown_in_steps(images: ImageSource, members: Tensor) -> Generator[Progress, None, SeenImages]:
    """Some images, (F,) by number, all together on the device."""
    if len(members) <= _IMAGES_AT_ONCE:
        found = images.of(members)
        return SeenImages(images.disc, found.spectra, found.ctf, found.rotations)
    pixels, device = len(images.disc), images.disc.points.device
    spectra = torch.empty(len(members), pixels, dtype=torch.complex64, device=device)
    ctf, rotations = spectra.real.new_empty(spectra.shape), spectra.real.new_empty(len(members), 3, 3)
    for start in range(0, len(members), _IMAGES_AT_ONCE):
        part = slice(start, start + _IMAGES_AT_ONCE)
        found = images.of(members[part])
        spectra[part], ctf[part], rotations[part] = found.spectra, found.ctf, found.rotations
        yield Progress("images to find the consensus of", start / len(members))
    return SeenImages(images.disc, spectra, ctf, rotations)


def fitted_in_steps(
    fit: SubspaceFit, modes: int, iterations: int, seed: int
) -> Generator[Progress | None, None, Subspace]:
    """The subspace after the last iteration; progress goes from 0 to 1."""
    last: Subspace | None = None
    number = 0
    for found in fit.steps(modes, iterations, seed=seed):
        if found is None:
            yield None
            continue
        last, number = found, number + 1
        yield Progress(f"{modes} modes, iteration {number} of {iterations}", number / iterations)
    if last is None:
        raise ValueError(f"{iterations} iterations find nothing")
    return last


def more_in_steps(
    fit: SubspaceFit, subspace: Subspace, noise: AgainstNoise, iterations: int, seed: int
) -> Generator[Progress | None, None, Subspace]:
    """The same subspace, or one of all modes above noise where all of the first are; progress goes from 0 to 1."""
    if noise.kept < subspace.modes or subspace.modes >= MANY_MODES:
        return subspace
    many = yield from fitted_in_steps(fit, MANY_MODES, iterations, seed)
    return many.first(max(subspace.modes, noise.above(many.eigenvalues)))


def tried_more(first: int, kept: int) -> str:
    """What to say of it."""
    return f"As all of these {first} are, {MANY_MODES} were tried: {kept} are above noise."
