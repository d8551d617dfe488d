"""Images that do not fit the device: read in contiguous chunks, shuffled in a buffer, the same for a seed and a step.

An epoch is a random order of contiguous chunks. As many of them as the buffer takes are read, prepared and shuffled
together, and batches are cut from that. Which images a batch holds follows from seed and step alone, so a training
that goes on reads only the buffer that it stopped in.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from cryobridge.core.particles import HalfDisc

from .contrast import ContrastFound
from .image_source import ImageBatch, order_of_epoch, steps_per_epoch
from .preparation import Preparation

_BUFFER_IMAGES, _BUFFER_BYTES = 32768, 1 << 30
"""The smaller of the two counts. Not what is free: which images a batch holds must not depend on the machine."""
_PIXEL_BYTES = 12
_CHUNK_IMAGES = 256
_IN_BUFFER, _OF_CHUNKS = 1, 0


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
    buffer
        Images that are held at a time for batches; as many as a gibibyte takes, at most 32768, if None.
    chunk
        Images that are read in one go.
    """

    def __init__(
        self,
        recipe: Preparation,
        noise: float,
        found: ContrastFound,
        *,
        buffer: int | None = None,
        chunk: int = _CHUNK_IMAGES,
    ) -> None:
        self.noise, self.contrast, self.poses_fit = noise, found.contrast, found.poses_fit
        self.remarks, self.doubts, self.probe = found.remarks, found.doubts, found.probe
        self.found = found
        most = max(chunk, _BUFFER_BYTES // (_PIXEL_BYTES * len(recipe.disc)))
        self._recipe, self._chunk = recipe, chunk
        self._buffer = min(_BUFFER_IMAGES, most) if buffer is None else buffer
        self._order: tuple[tuple[int, int, int], Tensor] | None = None
        self._loaded: tuple[tuple[int, int, int, int], ImageBatch] | None = None

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
        epoch, place = divmod(step, steps_per_epoch(len(self), size))
        per_buffer = max(1, self._buffer // size)
        number, within = divmod(place, per_buffer)
        key = (seed, epoch, size, number)
        if self._loaded is None or self._loaded[0] != key:
            order = self._order_of(seed, epoch, size)
            first = number * per_buffer * size
            wanted = order[first : first + per_buffer * size]
            self._loaded = None  # the old buffer goes before the new one comes
            self._loaded = key, self._read(wanted)
        return self._loaded[1].of(slice(within * size, (within + 1) * size))

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

    def _order_of(self, seed: int, epoch: int, size: int) -> Tensor:
        """Members in the order of an epoch, (N,): chunks in random order, shuffled within each buffer."""
        key = (seed, epoch, size)
        if self._order is not None and self._order[0] == key:
            return self._order[1]
        starts = torch.arange(0, len(self), self._chunk)[
            order_of_epoch(-(-len(self) // self._chunk), _seed(seed, _OF_CHUNKS), epoch)
        ]
        members = torch.cat([torch.arange(int(at), min(int(at) + self._chunk, len(self))) for at in starts])
        width = max(1, self._buffer // size) * size
        parts = [
            part[order_of_epoch(len(part), _seed(seed, _IN_BUFFER + number), epoch)]
            for number, part in enumerate(torch.split(members, width))
        ]
        self._order = key, torch.cat(parts)
        return self._order[1]

    def _read(self, members: Tensor) -> ImageBatch:
        """Read images (K,) in the order of the disk and give them back in theirs."""
        ordered, back = torch.sort(members)
        found = self._recipe.images(ordered.numpy().astype(np.int64))
        return found.of(torch.argsort(back).to(found.spectra.device))


def _seed(seed: int, part: int) -> int:
    """A seed of a part of an epoch's order."""
    return seed * 1_000_003 + part
