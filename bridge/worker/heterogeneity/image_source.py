"""Where trainings and full passes get prepared images from, whether all lie on the device or come from the disk.

The whole interface is `ImageSource`: `of` some images, the `batch` of a training's step, `iterate` over all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cryobridge.core.particles import HalfDisc
from cryobridge.core.training import generator_at


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

    def iterate(self, size: int) -> Iterator[ImageBatch]:
        """All images once, in their order, `size` at a time."""

    def held(self) -> list[Tensor]:
        """Every tensor on the device, to be moved while another needs it."""


def steps_per_epoch(count: int, size: int) -> int:
    """Steps in which every image comes once; 1 where a batch holds all."""
    return max(1, count // size)


def order_of_epoch(count: int, seed: int, epoch: int) -> Tensor:
    """The order of images, or of chunks of them, in an epoch: (count,) int64 on the CPU, the same on every machine."""
    return torch.randperm(count, generator=generator_at(seed, epoch))
