"""All images of a set, prepared and kept on the device: contrast, noise, and what the images say of their poses."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.particles import HalfDisc, ImageProbe, probed
from cryobridge.core.training import generator_at
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.particle_images import ImageOptions
from cryobridge.wrappers.particles.particle_set import Contrast, ParticleSet

from ..loop import Progress
from .contrast import ContrastFound, contrast_of
from .image_source import BatchOrder, ImageBatch, ImageSource
from .preparation import Preparation, preparation_of
from .streaming import StreamedImages

_PROBE_IMAGES, _PROBE_RUNS = 1000, 25
_PROBE_RADIUS = 24
_FEWEST_PROBED = 4
_NOISE_FROM = 0.9
"""Share of the disc's radius from which on a spectrum is taken to be noise."""
_ALIKE = 1e-5
"""Of their largest value: images that differ by no more than this are one image, moved."""
_LEAST_NOISE = 0.05
"""Of the rms of a spectrum: images without noise are not scaled up without bound."""
_SHARE_OF_FREE = 0.5


@dataclass(frozen=True)
class PreparedImages:
    """The images of N particles on the device; an `ImageSource`.

    Attributes
    ----------
    disc
        M Fourier pixels of the prepared images.
    spectra
        (N, M) complex64: recentred, bright on dark, divided by the noise's deviation, so that of noise the real and
        the imaginary part each have variance 1.
    ctf
        (N, M) float32, RELION's sign; 1 where there is none.
    rotations
        (N, 3, 3) float32, object to view; scaled where pixel sizes differ, see `ImageBatch`.
    noise
        What the spectra were divided by: deviation of the noise's real part, in units of the unnormalised transform.
    box, pixel_size_A
        Of the prepared images.
    contrast
        That the stored images have.
    poses_fit
        Whether a backprojection is more than what poses give that mean nothing; None where that is not known.
    remarks
        What a reader must know of how they were prepared, in sentences.
    probe
        Measures of the quick backprojection; None where there were too few images.
    """

    disc: HalfDisc
    spectra: Tensor
    ctf: Tensor
    rotations: Tensor
    noise: float
    box: int
    pixel_size_A: float
    contrast: Contrast
    poses_fit: bool | None
    remarks: tuple[str, ...]
    probe: ImageProbe | None = None

    def __len__(self) -> int:
        """Number of images, N."""
        return self.spectra.shape[0]

    def of(self, members: Tensor) -> ImageBatch:
        """These images (K,), in this order."""
        return ImageBatch(members, self.spectra[members], self.ctf[members], self.rotations[members])

    def batch(self, seed: int, step: int, size: int) -> ImageBatch:
        """The images of a step of a training; see `ImageSource`."""
        return self.of(self._order.batch(seed, step, size).to(self.spectra.device))

    def loading(self, seed: int, step: int, size: int) -> Iterator[None]:
        """Nothing: all images are there."""
        yield from ()

    def iterate(self, size: int) -> Iterator[ImageBatch]:
        """All images once, in their order, `size` at a time."""
        every = torch.arange(len(self), device=self.spectra.device)
        for first in range(0, len(self), size):
            part = slice(first, first + size)
            yield ImageBatch(every[part], self.spectra[part], self.ctf[part], self.rotations[part])

    def held(self) -> list[Tensor]:
        """Every tensor on the device."""
        return [self.disc.points, self.disc.radii, self.spectra, self.ctf, self.rotations]

    @cached_property
    def _order(self) -> BatchOrder:
        return BatchOrder(len(self), len(self.disc))


Preparing = Generator[Progress, None, PreparedImages]


def image_bytes(count: int, box: int, radius: float | None = None) -> int:
    """What `PreparedImages` of so many images take on the device."""
    reach = box / 2 if radius is None else radius
    return int(count * 0.5 * np.pi * reach**2 * 12)


def fits_device(count: int, box: int, radius: float | None, device: torch.device) -> bool:
    """Whether so many prepared images take no more than half of the memory that is free."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return image_bytes(count, box, radius) <= _SHARE_OF_FREE * free


def image_source(
    particles: ParticleSet, options: ImageOptions, *, box: int, radius: float | None = None, device: torch.device
) -> Generator[Progress, None, ImageSource]:
    """Prepare images: kept on the device where they fit, read chunk by chunk where they do not.

    Parameters are those of `prepare_images`.
    """
    if fits_device(len(particles), box, radius, device):
        return (yield from prepare_images(particles, options, box=box, radius=radius, device=device))
    return (yield from stream_images(particles, options, box=box, radius=radius, device=device))


def prepare_images(
    particles: ParticleSet, options: ImageOptions, *, box: int, radius: float | None = None, device: torch.device
) -> Preparing:
    """Read every image and prepare it.

    Parameters
    ----------
    box
        Even; images of a larger box are cropped to it in Fourier space.
    radius
        Frequencies that are kept, in cycles per box; all below Nyquist if None.

    Raises
    ------
    InputInvalid
        If there are no poses, the box cannot be had, or an image cannot be read.
    """
    recipe = preparation_of(particles, options, box, radius, device)
    count, width = len(particles), len(recipe.disc)
    spectra = torch.empty(count, width, dtype=torch.complex64, device=device)
    ctf = torch.empty(count, width, device=device)
    rotations = torch.empty(count, 3, 3, device=device)
    for first in range(0, count, recipe.chunk):
        members = np.arange(first, min(first + recipe.chunk, count), dtype=np.int64)
        part = recipe.images(members)
        place = slice(first, first + len(members))
        spectra[place], ctf[place], rotations[place] = part.spectra, part.ctf, part.rotations
        yield Progress(f"read {place.start + len(members)} of {count} images", (first + len(members)) / count)
    some = torch.from_numpy(_probe_members(count)).to(device)
    found, noise = _looked_at(recipe, ImageBatch(some, spectra[some], ctf[some], rotations[some]), options)
    # A part at a time, as they may be many gigabytes, and a call waits meanwhile.
    for some_spectra, some_ctf in zip(torch.split(spectra, recipe.chunk), torch.split(ctf, recipe.chunk), strict=True):
        some_spectra.mul_(_factor(found, noise))
        if found.flipped:
            some_ctf.abs_()
        yield Progress(f"scaling {count} images", 1.0)
    return PreparedImages(
        recipe.disc,
        spectra,
        ctf,
        rotations,
        noise,
        box,
        recipe.pixel_size_A,
        found.contrast,
        found.poses_fit,
        _remarks(recipe, found),
        found.probe,
    )


def stream_images(
    particles: ParticleSet, options: ImageOptions, *, box: int, radius: float | None = None, device: torch.device
) -> Generator[Progress, None, StreamedImages]:
    """Look at some images and get ready to read all of them again and again; parameters as of `prepare_images`."""
    recipe = preparation_of(particles, options, box, radius, device)
    some = recipe.images(_probe_members(len(particles)))
    yield Progress(f"read {len(some)} of {len(particles)} images to look at", 0.5)
    found, noise = _looked_at(recipe, some, options)
    ready = replace(recipe, factor=_factor(found, noise), flipped=found.flipped)
    return StreamedImages(ready, noise, replace(found, remarks=_remarks(recipe, found)))


def _probe_members(count: int) -> NDArray[np.int64]:
    """Up to 1000 images in up to 25 runs spread over the set, so that few places of the disk are read."""
    if count <= _PROBE_IMAGES:
        return np.arange(count, dtype=np.int64)
    length = _PROBE_IMAGES // _PROBE_RUNS
    starts = np.linspace(0, count - length, _PROBE_RUNS).astype(np.int64)
    return np.unique((starts[:, None] + np.arange(length)).ravel())


def _looked_at(recipe: Preparation, some: ImageBatch, options: ImageOptions) -> tuple[ContrastFound, float]:
    """What a probe of some images says, and the deviation of their noise."""
    has_ctf = recipe.particles.ctf is not None
    noise = noise_deviation(recipe.disc, some.spectra)
    _expect_different(recipe.particles.name, some.spectra, noise)
    if len(some) < _FEWEST_PROBED:
        taken = (recipe.particles.contrast if options.contrast == "auto" else options.contrast) or "bright"
        words = (f"There are too few images to find their contrast; they are taken as {taken}.",)
        return ContrastFound(taken, False, None, words, words, None), noise
    band = recipe.disc.within(min(_PROBE_RADIUS, float(recipe.disc.radii[-1])))
    probe = probed(
        band, some.spectra[:, : len(band)], some.ctf[:, : len(band)], some.rotations, generator_at(len(some))
    )
    return contrast_of(probe, options.contrast, recipe.particles.contrast, has_ctf=has_ctf), noise


def _expect_different(name: str, spectra: Tensor, noise: float) -> None:
    """Refuse images (N, M) that are one and the same, such as zeros, or too large for their squares to be held."""
    if not math.isfinite(noise):
        raise InputInvalid(f"{name}: its images hold values too large to be worked with; normalise them first")
    sizes = spectra.abs()
    if len(sizes) > 1 and bool((sizes - sizes[0]).abs().max() <= _ALIKE * sizes.max()):
        raise InputInvalid(f"{name}: its images are all the same, such as zeros; give the images of the particles")


def noise_deviation(disc: HalfDisc, spectra: Tensor) -> float:
    """Deviation of the noise's real part in spectra (N, M): from the outer shells, in the middle image."""
    outer = disc.count_within(_NOISE_FROM * float(disc.radii[-1]))
    power = spectra[:, outer:].abs().square().mean(dim=1) / 2
    least = _LEAST_NOISE * spectra.abs().square().mean().div(2).sqrt()
    return float(torch.maximum(power.median().sqrt(), least).clamp(min=1e-20))


def _factor(found: ContrastFound, noise: float) -> float:
    return (1.0 if found.contrast == "bright" else -1.0) / noise


def _remarks(recipe: Preparation, found: ContrastFound) -> tuple[str, ...]:
    particles = recipe.particles
    sizes = np.unique(np.round(particles.pixel_size_A, 4))
    several = (
        f"{particles.name}: pixel sizes from {sizes[0]:g} to {sizes[-1]:g} A; each image is placed by its own, volumes "
        f"have voxels of {recipe.pixel_size_A:.4g} A."
    )
    none = "There is no CTF: images are taken as corrected for it."
    return (*found.remarks, *([several] if len(sizes) > 1 else []), *([none] if particles.ctf is None else []))
