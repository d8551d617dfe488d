"""Images of particles as a training takes them, wherever they lie."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ..particles import HalfDisc


class ShownImages(Protocol):
    """Some prepared images on the device: (B,), (B, M), (B, M), (B, 3, 3)."""

    @property
    def members(self) -> Tensor:
        """Which images of the set, (B,)."""

    @property
    def spectra(self) -> Tensor:
        """Recentred, bright on dark, (B, M)."""

    @property
    def ctf(self) -> Tensor:
        """Values, (B, M)."""

    @property
    def rotations(self) -> Tensor:
        """Object to view, (B, 3, 3) float32."""


class ImagesToLearn(Protocol):
    """A set of prepared images, wherever they lie."""

    @property
    def disc(self) -> HalfDisc:
        """Fourier pixels of the spectra."""

    def __len__(self) -> int:
        """Number of images."""

    def of(self, members: Tensor) -> ShownImages:
        """These images (K,)."""

    def batch(self, seed: int, step: int, size: int) -> ShownImages:
        """The images of a step, the same for a seed and a step; each comes once in `len(self) // size` steps."""

    def held(self) -> list[Tensor]:
        """Every tensor (...,) on the device."""
