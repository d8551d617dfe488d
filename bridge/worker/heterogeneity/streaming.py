"""Images that do not fit the device: read in contiguous chunks, shuffled in a buffer, the same for a seed and a step.

As many images as a buffer takes are read and prepared together, in the order of the disk, and batches are cut from that
in the order of `BatchOrder`. Which images a batch holds follows from seed and step alone, so a training that goes on
reads only the buffer that it stopped in.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from cryobridge.core.particles import HalfDisc

from .contrast import ContrastFound
from .image_source import BatchOrder, ImageBatch
from .preparation import Preparation


class StreamedImages:
    """The images of N particles, read when they are wanted; an `ImageSource`.

    Parameters
    ----------
    recipe
        How they are prepared.
    noise
        What spectra are divided by, as `recipe` does.
    found
        What was found about their contrast; its remarks are all that a reader must know of their preparation.
    """

    def __init__(self, recipe: Preparation, noise: float, found: ContrastFound) -> None:
        self.noise, self.contrast, self.poses_fit = noise, found.contrast, found.poses_fit
        self.remarks, self.doubts, self.probe = found.remarks, found.doubts, found.probe
        self.found = found
        self._recipe = recipe
        self._order = BatchOrder(len(recipe.particles), len(recipe.disc))
        self._buffer: _Buffer | None = None

    @property
    def disc(self) -> HalfDisc:
        """The Fourier pixels of all spectra."""
        return self._recipe.disc

    @property
    def box(self) -> int:
        """Of the prepared images."""
        return self._recipe.disc.box

    @property
    def pixel_size_A(self) -> float:
        """Of the prepared images."""
        return self._recipe.pixel_size_A

    @property
    def chunk(self) -> int:
        """How many images are best read at once."""
        return self._recipe.chunk

    def __len__(self) -> int:
        """Number of images, N."""
        return len(self._recipe.particles)

    def of(self, members: Tensor) -> ImageBatch:
        """These images (K,), in this order."""
        return self._recipe.images(members.cpu().numpy().astype(np.int64))

    def batch(self, seed: int, step: int, size: int) -> ImageBatch:
        """The images of a step of a training; see `ImageSource`."""
        wanted, first = self._order.buffer(seed, step, size)
        buffer = self._buffer_of(wanted)
        while buffer.is_open:
            buffer.read(self._recipe)
        # A copy: a view would keep the whole buffer on the device while it is parked.
        return buffer.images.of(torch.arange(first, min(first + size, len(wanted)), device=self.disc.points.device))

    def loading(self, seed: int, step: int, size: int) -> Iterator[None]:
        """Read the buffer of a step, a part at a time; see `ImageSource`."""
        wanted, _ = self._order.buffer(seed, step, size)
        buffer = self._buffer_of(wanted)
        while buffer.is_open:
            buffer.read(self._recipe)
            yield

    def iterate(self, size: int) -> Iterator[ImageBatch]:
        """All images once, in their order, `size` at a time."""
        for first in range(0, len(self), size):
            yield self._recipe.images(np.arange(first, min(first + size, len(self)), dtype=np.int64))

    def held(self) -> list[Tensor]:
        """Every tensor on the device."""
        return [self.disc.points, self.disc.radii, *([] if self._buffer is None else self._buffer.held())]

    def _buffer_of(self, wanted: Tensor) -> _Buffer:
        """The buffer of these images (K,), empty where another was there."""
        if self._buffer is None or not torch.equal(self._buffer.wanted, wanted):
            self._buffer = None  # the old buffer goes before the new one comes
            self._buffer = _Buffer(wanted, self.disc)
        return self._buffer


class _Buffer:
    """Images (K,) that batches are cut from, read in the order of the disk.

    Attributes
    ----------
    wanted
        Which, in the order of batches, on the CPU.
    images
        In that order; what was not read yet holds anything.
    """

    def __init__(self, wanted: Tensor, disc: HalfDisc) -> None:
        count, width, device = len(wanted), len(disc), disc.points.device
        self.wanted = wanted
        self.images = ImageBatch(
            wanted.to(device),
            torch.empty(count, width, dtype=torch.complex64, device=device),
            torch.empty(count, width, device=device),
            torch.empty(count, 3, 3, device=device),
        )
        self._places = torch.argsort(wanted)
        self._read = 0

    @property
    def is_open(self) -> bool:
        """Whether some are still to be read."""
        return self._read < len(self.wanted)

    def read(self, recipe: Preparation) -> None:
        """Read the next ones, as many as are best read at once."""
        places = self._places[self._read : self._read + recipe.chunk]
        found = recipe.images(self.wanted[places].numpy().astype(np.int64))
        at = places.to(found.spectra.device)
        images = self.images
        images.spectra[at], images.ctf[at], images.rotations[at] = found.spectra, found.ctf, found.rotations
        self._read += len(places)

    def held(self) -> list[Tensor]:
        """Every tensor on the device."""
        return [self.images.members, self.images.spectra, self.images.ctf, self.images.rotations]
