"""From stored images to prepared ones: window, spectrum, box, shift, CTF; a few images at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.particles import (
    Ctf,
    HalfDisc,
    ctf_values,
    half_disc,
    image_spectra,
    shifted,
    soft_window,
)
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.particle_images import ImageOptions
from cryobridge.wrappers.particles.image_reader import read_images
from cryobridge.wrappers.particles.particle_set import ParticleSet

from .image_source import ImageBatch

Reader = Callable[[ParticleSet, NDArray[np.int64]], NDArray[np.float32]]

_SMALLEST_BOX = 8
_CHUNK_BYTES = 48 << 20
_SAME_PIXEL_SIZE = 1e-5


@dataclass(frozen=True)
class Preparation:
    """How the images of a set are prepared.

    Attributes
    ----------
    particles
        The set, with poses.
    disc
        Of the prepared images, on the device.
    pixel_size_A
        Of the prepared images: the middle one, where a set has several.
    window
        (D, D) over the stored images, or None.
    factor
        That spectra are multiplied with: sign and inverse of the noise's deviation.
    flipped
        Whether phases were flipped in the images already, so that the CTF counts by its size alone.
    """

    particles: ParticleSet
    disc: HalfDisc
    pixel_size_A: float
    window: Tensor | None
    factor: float = 1.0
    flipped: bool = False

    @property
    def chunk(self) -> int:
        """How many images are read at once."""
        return max(16, _CHUNK_BYTES // (4 * self.particles.box**2))

    def images(self, members: NDArray[np.int64]) -> ImageBatch:
        """Read and prepare some images (K,), in this order.

        Raises
        ------
        InputInvalid
            If one cannot be read, or holds what is no number.
        """
        device = self.disc.points.device
        spectra = [self._spectra(members[first : first + self.chunk]) for first in range(0, len(members), self.chunk)]
        found = torch.cat(spectra) if len(spectra) != 1 else spectra[0]
        return ImageBatch(
            torch.from_numpy(members).to(device), found, self.ctf(members), self.rotations(members).to(device)
        )

    def _spectra(self, members: NDArray[np.int64]) -> Tensor:
        device = self.disc.points.device
        images = torch.from_numpy(read_images(self.particles, members)).to(device)
        spectra = image_spectra(images, self.disc, self.window)
        if self.particles.shifts_A is not None:
            size_A = self.particles.pixel_size_A[members] * (self.particles.box / self.disc.box)
            shift_px = torch.from_numpy(self.particles.shifts_A[members] / size_A[:, None]).to(device)
            spectra = shifted(spectra, self.disc, shift_px)
        return spectra if self.factor == 1.0 else spectra * self.factor

    def ctf(self, members: NDArray[np.int64]) -> Tensor:
        """The CTF of some images, (K, M) float32; 1 where there is none."""
        device = self.disc.points.device
        columns = self.particles.ctf
        if columns is None:
            return torch.ones(len(members), len(self.disc), device=device)
        values = [self._ctf(members[first : first + self.chunk]) for first in range(0, len(members), self.chunk)]
        return torch.cat(values)

    def _ctf(self, members: NDArray[np.int64]) -> Tensor:
        device = self.disc.points.device
        columns = self.particles.ctf
        if columns is None:
            raise ValueError("a set without CTF has no values of it")
        some = columns.of(members)
        ctf = Ctf(*(torch.from_numpy(getattr(some, field.name)).to(device) for field in fields(Ctf)))
        size_A = self.particles.pixel_size_A[members] * (self.particles.box / self.disc.box)
        values = ctf_values(ctf, self.disc, torch.from_numpy(size_A).to(device))
        return values.abs() if self.flipped else values

    def rotations(self, members: NDArray[np.int64]) -> Tensor:
        """Of some images, (K, 3, 3) float32 on the CPU; scaled where pixel sizes differ, see `ImageBatch`."""
        if self.particles.rotations is None:
            raise InputInvalid(f"{self.particles.name}: {_NO_POSES}")
        size_A = self.particles.pixel_size_A[members] * (self.particles.box / self.disc.box)
        ratio = self.pixel_size_A / size_A
        ratio = np.where(np.abs(ratio - 1) < _SAME_PIXEL_SIZE, 1.0, ratio)
        return torch.from_numpy(self.particles.rotations[members] * ratio[:, None, None]).float()


_NO_POSES = "has no poses; give a table of a finished refinement, or poses (--poses)"


def preparation_of(
    particles: ParticleSet, options: ImageOptions, box: int, radius: float | None, device: torch.device
) -> Preparation:
    """Check what was asked for against a set of particles, before anything is read.

    Raises
    ------
    InputInvalid
        If there are no poses, no particles, or the box is not one that the images can be prepared to.
    """
    if not len(particles):
        raise InputInvalid(f"{particles.name}: holds no particles; give a table with particles in it")
    if particles.rotations is None:
        raise InputInvalid(f"{particles.name}: {_NO_POSES}")
    if box % 2 or not _SMALLEST_BOX <= box <= particles.box:
        raise InputInvalid(
            f"{particles.name}: images of {particles.box} pixels cannot be prepared to a box of {box}; give an even "
            f"box from {_SMALLEST_BOX} to {particles.box - particles.box % 2}"
        )
    disc = half_disc(box, radius, device)
    window = soft_window(particles.box, options.window_radius, device=device) if options.window else None
    size_A = float(np.median(particles.pixel_size_A)) * particles.box / box
    return Preparation(particles, disc, size_A, window)
