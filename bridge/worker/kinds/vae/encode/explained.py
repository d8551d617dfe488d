"""How well a model explains images: what it says that they should be, held against what they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.latent import SliceModel, VolumeModel
from cryobridge.core.particles import HalfDisc, slice_points

from ....heterogeneity.image_source import ImageBatch
from ....heterogeneity.run_folder import Latents

MOST_PIXELS = 1024
"""Fourier pixels of an image that are looked at: a network takes as long for each as for its latent."""
_POINTS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class ExplainedImages:
    """Latents of N images, and how well the model explains each.

    latents, log_variances
        (N, zdim).
    misfit
        (N,) mean square of what is left of the real and imaginary parts, in variances of the noise: 1 for an image
        that is the model's and noise.
    correlation
        (N,) of the image and what the model says that it is.
    products, squares
        (N,) sums of image times model, and of the model's squares: of all images they tell the scale.
    """

    latents: Latents
    log_variances: Latents
    misfit: NDArray[np.float32]
    correlation: NDArray[np.float32]
    products: NDArray[np.float32]
    squares: NDArray[np.float32]

    @property
    def scale(self) -> float:
        """How many times as strong as the model's the particles in the images are; 0 where the model is empty."""
        power = float(self.squares.sum(dtype=np.float64))
        return float(self.products.sum(dtype=np.float64)) / power if power > 0 else 0.0

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Those of several batches, in their order."""
        names = ("latents", "log_variances", "misfit", "correlation", "products", "squares")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@torch.no_grad()
def explained(
    model: VolumeModel, disc: HalfDisc, images: ImageBatch, mean: Tensor, log_variance: Tensor
) -> ExplainedImages:
    """Hold images against what the model says of their latents (B, zdim); NaN of a model that cannot say it."""
    count = len(images)
    sums = torch.full((4, count), float("nan"), device=mean.device)
    if isinstance(model, SliceModel):
        pixels = _pixels(disc, model)
        known = HalfDisc(disc.box, disc.points[pixels], disc.radii[pixels])
        points = slice_points(known, images.rotations)
        together = max(1, _POINTS_AT_ONCE // max(len(pixels), 1))
        for first in range(0, count, together):
            some = slice(first, first + together)
            said = model.slices(mean[some], points[some]) * images.ctf[some][:, pixels]
            sums[:, some] = _sums(images.spectra[some][:, pixels], said)
    misfit, product, seen, made = sums
    return ExplainedImages(
        _array(mean),
        _array(log_variance),
        _array(misfit),
        _array(product / (seen * made).sqrt().clamp(min=1e-20)),
        _array(product),
        _array(made),
    )


def _pixels(disc: HalfDisc, model: SliceModel) -> Tensor:
    """Pixels at even steps of those that the model knows, (P,)."""
    known = disc.count_within(model.reach)
    steps = torch.linspace(0, known - 1, min(known, MOST_PIXELS), device=disc.points.device)
    return steps.round().long()


def _sums(seen: Tensor, said: Tensor) -> Tensor:
    """(4, B) misfit, product, power of the image, power of the model, of spectra (B, P)."""
    return torch.stack(
        [
            (seen - said).abs().square().mean(dim=1) / 2,
            (seen.conj() * said).real.sum(dim=1),
            seen.abs().square().sum(dim=1),
            said.abs().square().sum(dim=1),
        ]
    )


def _array(values: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = values.float().cpu().numpy()
    return found
