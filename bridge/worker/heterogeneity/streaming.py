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
        self._loaded: tuple[Tensor, ImageBatch] | None = None

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
        if self._loaded is None or not torch.equal(self._loaded[0], wanted):
            self._loaded = None  # the old buffer goes before the new one comes
            self._loaded = wanted, self._read(wanted)
        return self._loaded[1].of(slice(first, first + size))

    def iterate(self, size: int) -> Iterator[ImageBatch]:
        """All images once, in their order, `size` at a time."""
        for first in range(0, len(self), size):
            yield self._recipe.images(np.arange(first, min(first + size, len(self)), dtype=np.int64))

    def held(self) -> list[Tensor]:
        """Every tensor on the device."""
        loaded = [] if self._loaded is None else [self._loaded[1]]
        return [
            self.disc.points,
            self.disc.radii,
            *(tensor for one in loaded for tensor in (one.members, one.spectra, one.ctf, one.rotations)),
        ]

    def _read(self, members: Tensor) -> ImageBatch:
        """Read images (K,) in the order of the disk and give them back in theirs."""
        ordered, back = torch.sort(members)
        found = self._recipe.images(ordered.numpy().astype(np.int64))
        return found.of(torch.argsort(back).to(found.spectra.device))
