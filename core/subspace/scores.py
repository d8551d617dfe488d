"""Latents of any images in a subspace that was found: one expectation step, at full accuracy between voxels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..particles import slice_points
from .band_grid import BandGrid, SparseSlices
from .fit import posterior
from .images import SeenImages

_POINTS_AT_ONCE = 1 << 19


@dataclass(frozen=True)
class Scores:
    """Posterior of the latents of N images.

    mean, covariance
        (N, K), (N, K, K).
    """

    mean: Tensor
    covariance: Tensor

    @property
    def variance(self) -> Tensor:
        """(N, K) of each latent."""
        return self.covariance.diagonal(dim1=1, dim2=2)


class LinearScorer:
    """Latents of images under volume = consensus + sum of z_k times basis_k.

    Parameters
    ----------
    consensus
        (n, n, n).
    basis
        (K, n, n, n).
    prior_variance
        (K,) of the latents.
    noise
        (S + 1,) variance by shell of the real and imaginary parts of images.
    radius
        Pixels beyond it, in cycles per box, are not looked at.
    """

    def __init__(self, consensus: Tensor, basis: Tensor, prior_variance: Tensor, noise: Tensor, radius: float) -> None:
        self.radius = radius
        self._grid = BandGrid(consensus.shape[-1], radius, padding=2)
        self._table = self._grid.table_of(torch.cat([consensus[None], basis]))
        self._precision = torch.diag(1 / prior_variance)
        self._noise = noise

    def scores(self, images: SeenImages) -> Scores:
        """The posterior of images, not residuals, on any disc of the volumes' box that reaches far enough."""
        seen = images.within(self.radius)
        pixels, volumes = len(seen.disc), self._table.shape[1] // 2
        scale = self._noise[seen.disc.shells].rsqrt()
        at_once = max(1, _POINTS_AT_ONCE // pixels)
        means, covariances = [], []
        for start in range(0, len(seen), at_once):
            part = seen.of(slice(start, start + at_once))
            slices = SparseSlices(self._grid, slice_points(part.disc, part.rotations))
            values = slices.take(self._table).reshape(-1, pixels, 2, volumes)
            values = values * (part.ctf * scale)[:, :, None, None]
            data = torch.view_as_real(part.spectra * scale)
            odd = torch.where(slices.flipped, -1.0, 1.0).reshape(-1, pixels)
            data = torch.stack([data[..., 0], data[..., 1] * odd], dim=2) - values[..., 0]
            mean, covariance, _ = posterior(values[..., 1:].flatten(1, 2), data.flatten(1), self._precision)
            means.append(mean)
            covariances.append(covariance)
        return Scores(torch.cat(means), torch.cat(covariances))

    def components_at(self, points: Tensor) -> Tensor:
        """Spectra of the basis at points (N, M, 3) in x, y, z, cycles per box: (N, M, 2, K), real and imaginary parts.

        They are those within the radius; beyond it they mean nothing.
        """
        slices = SparseSlices(self._grid, points)
        values = slices.take(self._table).reshape(*points.shape[:-1], 2, -1)[..., 1:]
        odd = torch.where(slices.flipped, -1.0, 1.0).reshape(*points.shape[:-1], 1)
        return torch.stack([values[..., 0, :], values[..., 1, :] * odd], dim=-2)

    def views(self, images: SeenImages, latents: Tensor) -> Tensor:
        """Spectra (N, M) up to the radius of what latents (N, K) add to the consensus as the images show it."""
        seen = images.within(self.radius)
        pixels, volumes = len(seen.disc), self._table.shape[1] // 2
        at_once = max(1, _POINTS_AT_ONCE // pixels)
        found = torch.empty_like(seen.spectra)
        for start in range(0, len(seen), at_once):
            part = slice(start, start + at_once)
            slices = SparseSlices(self._grid, slice_points(seen.disc, seen.rotations[part]))
            values = slices.take(self._table).reshape(-1, pixels, 2, volumes)[..., 1:]
            real, imaginary = (values @ latents[part][:, None, :, None])[..., 0].unbind(dim=2)
            odd = torch.where(slices.flipped, -1.0, 1.0).reshape(-1, pixels)
            found[part] = torch.complex(real, imaginary * odd) * seen.ctf[part]
        return found
