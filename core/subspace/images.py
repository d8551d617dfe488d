"""Images with their poses and CTF, as the work on a subspace takes them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..particles import HalfDisc


@dataclass(frozen=True)
class SeenImages:
    """N images on one device.

    Attributes
    ----------
    disc
        Their M Fourier pixels, in the box of the model.
    spectra
        (N, M) complex64, recentred, bright on dark.
    ctf
        (N, M) float32.
    rotations
        (N, 3, 3) object to view.
    """

    disc: HalfDisc
    spectra: Tensor
    ctf: Tensor
    rotations: Tensor

    def __len__(self) -> int:
        """Number of images, N."""
        return self.spectra.shape[0]

    def of(self, members: Tensor | slice) -> SeenImages:
        """Some of the images: members (K,) by number."""
        return SeenImages(self.disc, self.spectra[members], self.ctf[members], self.rotations[members])

    def within(self, radius: float) -> SeenImages:
        """The same images up to a radius, in cycles per box."""
        disc = self.disc.within(radius)
        return SeenImages(disc, self.spectra[:, : len(disc)], self.ctf[:, : len(disc)], self.rotations)

    def with_spectra(self, spectra: Tensor) -> SeenImages:
        """Other spectra (N, M) with the same poses and CTF."""
        return SeenImages(self.disc, spectra, self.ctf, self.rotations)


def noise_of_shells(spectra: Tensor, disc: HalfDisc) -> Tensor:
    """Mean variance of the real and imaginary parts by shell, (S + 1,) float32, shells 0 to the disc's last.

    Of residuals it is the noise, of images noise and signal. Shell 0 has no pixel and takes the value of shell 1.
    """
    power = 0.5 * torch.view_as_real(spectra).square().sum(dim=2).mean(dim=0)
    return shell_means(power, disc)


def shell_means(values: Tensor, disc: HalfDisc) -> Tensor:
    """Means (S + 1,) of values (M,) of a disc's pixels over its shells; shell 0 takes the value of shell 1."""
    shells = disc.shells
    total = torch.zeros(int(shells[-1]) + 1, device=values.device, dtype=values.dtype)
    found = total.index_add(0, shells, values) / total.index_add(0, shells, torch.ones_like(values)).clamp_min(1)
    found[0] = found[1]
    return found
