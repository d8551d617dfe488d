"""Latents of images: their mean and the logarithm of their variance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...particles import HalfDisc, half_disc, images_of
from .layers import ImageConvolutions, LayerStack
from .shape import NetworkShape


def make_encoder(shape: NetworkShape, disc: HalfDisc) -> nn.Module | None:
    """The encoder of a shape for images on a disc; None where images are not looked at."""
    if shape.encoder in ("none", "table") or not shape.zdim:
        return None
    if shape.encoder == "conv":
        return ConvolutionalEncoder(shape, disc)
    count = disc.count_within(shape.encoder_radius)
    if shape.encoder == "tilt":
        return TiltPairEncoder(shape, count)
    if shape.encoder == "series":
        return TiltSeriesEncoder(shape, count)
    return PixelEncoder(shape, count)


class PixelEncoder(nn.Module):
    """Layers on the Hartley values of an image's Fourier pixels, phase-flipped.

    Parameters
    ----------
    count
        Pixels of the half disc that are seen.
    """

    def __init__(self, shape: NetworkShape, count: int) -> None:
        super().__init__()
        self.count = count
        self.layers = LayerStack(
            2 * count,
            shape.encoder_width,
            shape.encoder_layers,
            2 * shape.zdim,
            shape.activation,
            skips=shape.encoder != "mlp",
        )

    def forward(self, spectra: Tensor) -> Tensor:
        """Means and logarithms of variances (B, 2 zdim) of phase-flipped spectra (B, 1, M, 2)."""
        found: Tensor = self.layers(hartley_values(spectra[:, 0, : self.count]))
        return found


class ConvolutionalEncoder(nn.Module):
    """Convolutions in real space, on the image's Fourier pixels that 64 pixels have."""

    points: Tensor

    def __init__(self, shape: NetworkShape, disc: HalfDisc) -> None:
        super().__init__()
        side = ImageConvolutions.side
        self.small = half_disc(side, min(float(disc.radii[-1]), side / 2 - 0.5))
        self.register_buffer("points", self.small.points, persistent=False)
        self.layers = ImageConvolutions(shape.encoder_width, 2 * shape.zdim)

    def forward(self, spectra: Tensor) -> Tensor:
        """Means and logarithms of variances (B, 2 zdim) of phase-flipped spectra (B, 1, M, 2)."""
        count = len(self.small)
        disc = HalfDisc(self.small.box, self.points, self.small.radii)
        # A spectrum of unit variance is then an image of unit variance.
        images = images_of(torch.view_as_complex(spectra[:, 0, :count].contiguous().float()), disc) * disc.box
        found: Tensor = self.layers(images)
        return found


class TiltPairEncoder(nn.Module):
    """Two images of an object through the same layers, and a head of two layers on both."""

    def __init__(self, shape: NetworkShape, count: int) -> None:
        super().__init__()
        self.count = count
        width = shape.encoder_width
        self.image = LayerStack(2 * count, width, shape.encoder_layers, width, shape.activation, skips=True)
        self.both = LayerStack(2 * width, width, 2, 2 * shape.zdim, shape.activation, skips=True)

    def forward(self, spectra: Tensor) -> Tensor:
        """Means and logarithms of variances (B, 2 zdim) of phase-flipped spectra (B, 2, M, 2)."""
        found: Tensor = self.both(self.image(hartley_values(spectra[:, :, : self.count])).flatten(1))
        return found


class TiltSeriesEncoder(nn.Module):
    """Several images of an object, a few numbers of each, and layers on them all.

    Source: Rangan et al. 2024, Nature Methods 21, 1537.
    """

    def __init__(self, shape: NetworkShape, count: int) -> None:
        super().__init__()
        self.count = count
        self.image = LayerStack(
            2 * count, shape.encoder_width, shape.encoder_layers, shape.tilt_embedding, shape.activation, skips=True
        )
        self.all = LayerStack(
            shape.tilts * shape.tilt_embedding,
            shape.tilt_width,
            shape.tilt_layers,
            2 * shape.zdim,
            shape.activation,
            skips=True,
        )

    def forward(self, spectra: Tensor) -> Tensor:
        """Means and logarithms of variances (B, 2 zdim) of phase-flipped spectra (B, tilts, M, 2)."""
        found: Tensor = self.all(self.image(hartley_values(spectra[:, :, : self.count])).flatten(1))
        return found


def hartley_values(spectra: Tensor) -> Tensor:
    """The Hartley transform (..., 2 M) of images with these spectra (..., M, 2): at the pixels, then at their mates.

    It is the real part less the imaginary part; at the mate, which is the conjugate, their sum.
    """
    real, imaginary = spectra[..., 0], spectra[..., 1]
    return torch.cat([real - imaginary, real + imaginary], dim=-1)


def spectra_of_hartley(values: Tensor) -> Tensor:
    """Parts (..., 2) of spectra, of Hartley values (..., 2 M): the inverse of `hartley_values`."""
    here, mate = values.chunk(2, dim=-1)
    return torch.stack([0.5 * (here + mate), 0.5 * (mate - here)], dim=-1)
