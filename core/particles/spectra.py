"""Images of particles as spectra on a half disc, and back: window, shift, box."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .disc import HalfDisc


def soft_window(box: int, inner: float = 0.85, outer: float = 0.99, device: torch.device | str | None = None) -> Tensor:
    """A radial window that falls linearly from 1 to 0, (box, box).

    Parameters
    ----------
    inner, outer
        Radii where the fall begins and ends, in halves of the box.
    """
    axis = (torch.arange(box, device=device, dtype=torch.float32) - box / 2) / (box / 2)
    radius = torch.sqrt(axis[:, None] ** 2 + axis[None, :] ** 2)
    return ((outer - radius) / max(outer - inner, 1e-6)).clamp(0.0, 1.0)


def image_spectra(images: Tensor, disc: HalfDisc, window: Tensor | None = None) -> Tensor:
    """Spectra of images, the origin of phases at pixel box / 2; not normalised.

    Parameters
    ----------
    images
        (N, D, D), rows y, columns x; D may be larger than the disc's box: the disc then belongs to the images
        downsampled to its box by cropping in Fourier space, times (D / box)^2.
    window
        (D, D), multiplied with first.

    Returns
    -------
    (N, M) complex64.
    """
    side = images.shape[-1]
    if side < disc.box:
        raise ValueError(f"images of {side} pixels have no spectrum of box {disc.box}")
    seen = images.float() if window is None else images.float() * window
    full = torch.fft.rfft2(seen)
    x, y = disc.points[:, 0], disc.points[:, 1]
    return _product(full[:, y % side, x], _centred(disc, side))


def images_of(spectra: Tensor, disc: HalfDisc, box: int | None = None) -> Tensor:
    """Images (N, box, box) of spectra (N, M): the inverse of `image_spectra` for images within the disc."""
    side = disc.box if box is None else box
    full = torch.zeros(spectra.shape[0], side, side // 2 + 1, dtype=torch.complex64, device=spectra.device)
    x, y = disc.points[:, 0], disc.points[:, 1]
    values = spectra.to(torch.complex64) * _centred(disc, side)
    full[:, y % side, x] = values
    on_axis = x == 0
    full[:, (-y[on_axis]) % side, 0] = values[:, on_axis].conj()
    images: Tensor = torch.fft.irfft2(full, s=(side, side))
    return images


def shifted(spectra: Tensor, disc: HalfDisc, shift_px: Tensor) -> Tensor:
    """Spectra (N, M) of the images moved by so many pixels of the disc's box, (N, 2) in x, y.

    RELION's and CryoSPARC's origins are what recentres a particle, so they are given as they are.
    """
    x, y = disc.points.double().T
    shift = shift_px.double()
    # Not a matrix product: its rounding depends on how many rows there are.
    turns = (shift[:, :1] * x + shift[:, 1:] * y) / disc.box
    angle = -2.0 * math.pi * (turns - torch.round(turns)).float()
    return _turned(spectra, torch.cos(angle), torch.sin(angle))


def _product(values: Tensor, signs: Tensor) -> Tensor:
    """Complex values (N, M) times signs (M,), which are complex for odd sides."""
    return _turned(values, signs.real, signs.imag) if signs.is_complex() else values * signs


def _turned(values: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Complex values (N, M) times cosine + i sine.

    Written out: torch rounds complex products differently in the last few of an array, so that an image's bits would
    depend on which others are prepared with it.
    """
    real, imaginary = values.real, values.imag
    return torch.complex(real * cosine - imaginary * sine, real * sine + imaginary * cosine)


def _centred(disc: HalfDisc, side: int) -> Tensor:
    """Signs (M,) that take the origin of phases from pixel 0 to pixel side / 2."""
    total = disc.points.sum(dim=1)
    if side % 2 == 0:
        return (1 - 2 * (total % 2)).float()
    turns = total.double() * (side // 2) / side
    return torch.polar(torch.ones_like(turns), 2.0 * math.pi * turns).to(torch.complex64)
