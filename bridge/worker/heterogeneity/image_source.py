"""Where trainings and full passes get prepared images from, whether all lie on the device or come from the disk.

The whole interface is `ImageSource`: `of` some images, the `batch` of a training's step and its `loading`, `iterate`
over all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cryobridge.core.particles import HalfDisc
from cryobridge.core.training import generator_at

BUFFER_IMAGES, _BUFFER_BYTES = 32768, 1 << 30
"""Shuffled together: the smaller of the two counts. Not what is free: see `BatchOrder`."""
CHUNK_IMAGES = 256
"""Contiguous images that stay together in the order of an epoch, so that few places of the disk are read."""
_PIXEL_BYTES = 12
_OF_CHUNKS, _IN_BUFFER = 0, 1


@dataclass(frozen=True)
class ImageBatch:
    """Some prepared images, all on the device.

    Attributes
    ----------
    members
        (B,) which images of the set, int64.
    spectra
        (B, M) complex64: recentred, bright on dark, and divided by the noise's deviation, so that of noise the real
        and the imaginary part each have variance 1.
    ctf
        (B, M) float32, RELION's sign; 1 where there is none.
    rotations
        (B, 3, 3) float32, object to view. Of images whose pixel size is not the set's, times the ratio of the two, so
        that `slice_points` lie where their frequencies do in 1/A; the same matrices otherwise.
    """

    members: Tensor
    spectra: Tensor
    ctf: Tensor
    rotations: Tensor

    def __len__(self) -> int:
        """Number of images, B."""
        return self.members.shape[0]

    def of(self, members: Tensor | slice) -> ImageBatch:
        """Some of them."""
        return ImageBatch(self.members[members], self.spectra[members], self.ctf[members], self.rotations[members])


class ImageSource(Protocol):
    """Prepared images of a set of particles; image i is row i of the set."""

    @property
    def disc(self) -> HalfDisc:
        """The Fourier pixels of all spectra, on the device."""

    @property
    def box(self) -> int:
        """Of the images as they are prepared."""

    @property
    def pixel_size_A(self) -> float:
        """Of the prepared images, so the voxel size of volumes made of them."""

    @property
    def noise(self) -> float:
        """What spectra were divided by; see `ImageBatch`."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must know of how they were prepared, in sentences."""

    def __len__(self) -> int:
        """Number of images, N."""

    def of(self, members: Tensor) -> ImageBatch:
        """These images (K,), in this order."""

    def batch(self, seed: int, step: int, size: int) -> ImageBatch:
        """The images of a training's step, counted from 0: the same for a seed and a step, whatever was before.

        Every image comes once in an epoch of `len(source) // size` steps, but for those that are left over.
        """

    def loading(self, seed: int, step: int, size: int) -> Iterator[None]:
        """Read what `batch` of a step needs and is not there; yields after each part, so that a call can be let in."""

    def iterate(self, size: int) -> Iterator[ImageBatch]:
        """All images once, in their order, `size` at a time."""

    def held(self) -> list[Tensor]:
        """Every tensor on the device, to be moved while another needs it."""


def steps_per_epoch(count: int, size: int) -> int:
    """Steps in which every image comes once; 1 where a batch holds all."""
    return max(1, count // size)


def order_of_epoch(count: int, seed: int, epoch: int, size: int, *, buffer: int, chunk: int) -> Tensor:
    """The order of images in an epoch of batches of `size`: (count,) int64 on the CPU, the same on every machine.

    Any order is as likely as another where all batches fit a buffer. Of more images, chunks that are contiguous on the
    disk come in random order, and the images of as many as a buffer takes are shuffled together.
    """
    width = _width(size, buffer)
    if steps_per_epoch(count, size) * size <= width:
        return torch.randperm(count, generator=generator_at(seed, epoch))
    starts = torch.arange(0, count, chunk)
    starts = starts[torch.randperm(len(starts), generator=generator_at(_part_of(seed, _OF_CHUNKS), epoch))]
    members = torch.cat([torch.arange(at, min(at + chunk, count)) for at in starts.tolist()])
    parts = [
        part[torch.randperm(len(part), generator=generator_at(_part_of(seed, _IN_BUFFER + number), epoch))]
        for number, part in enumerate(torch.split(members, width))
    ]
    return torch.cat(parts)


class BatchOrder:
    """Which images the batches of a training hold, the same whether they lie on the device or come from the disk.

    A training that was stopped may go on with less memory free: what was kept on the device is streamed then, and every
    image must come once all the same. So the buffer follows from the images alone, not from what is free.

    Parameters
    ----------
    count, pixels
        Images N, and Fourier pixels of each, M.
    """

    def __init__(self, count: int, pixels: int) -> None:
        self._count = count
        self._buffer = min(BUFFER_IMAGES, max(CHUNK_IMAGES, _BUFFER_BYTES // (_PIXEL_BYTES * pixels)))
        self._last: tuple[tuple[int, int, int], Tensor] | None = None

    def batch(self, seed: int, step: int, size: int) -> Tensor:
        """The images of a step, (size,) int64 on the CPU; all where there are fewer."""
        epoch, place = divmod(step, steps_per_epoch(self._count, size))
        return self._of_epoch(seed, epoch, size)[place * size : (place + 1) * size]

    def buffer(self, seed: int, step: int, size: int) -> tuple[Tensor, int]:
        """The images (K,) of the steps that are read together with this one, and where in them its batch begins."""
        steps = steps_per_epoch(self._count, size)
        epoch, place = divmod(step, steps)
        width = _width(size, self._buffer)
        number, within = divmod(place * size, width)
        return self._of_epoch(seed, epoch, size)[number * width : min((number + 1) * width, steps * size)], within

    def _of_epoch(self, seed: int, epoch: int, size: int) -> Tensor:
        key = (seed, epoch, size)
        if self._last is None or self._last[0] != key:
            order = order_of_epoch(self._count, seed, epoch, size, buffer=self._buffer, chunk=CHUNK_IMAGES)
            self._last = key, order
        return self._last[1]


def _width(size: int, buffer: int) -> int:
    """Images of a buffer that holds whole batches."""
    return max(1, buffer // size) * size


def _part_of(seed: int, part: int) -> int:
    """A seed of a part of an epoch's order."""
    return seed * 1_000_003 + part
