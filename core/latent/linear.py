"""The linear model: a consensus and the volumes in which particles differ from it. Images are encoded by projection."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from ..particles import FourierGrid, half_disc
from ..subspace import BandGrid, Consensus, LinearScorer, Parts, SeenImages, Subspace, whole
from .model import Description, register

NAME = "linear"


class LinearModel:
    """Volume of z = consensus + sum over k of z_k times component k, the components zero beyond their radius.

    Latents are in deviations of the first: it has a prior variance of 1, the others less.

    Parameters
    ----------
    consensus
        (n, n, n), density positive.
    table
        (V, 2 K) spectra of the components on `BandGrid(n, radius)`.
    prior_variance
        (K,) of the latents.
    noise
        (S + 1,) variance by shell of the real and imaginary parts of images' spectra.
    """

    name = NAME

    def __init__(
        self,
        consensus: Tensor,
        table: Tensor,
        prior_variance: Tensor,
        noise: Tensor,
        radius: float,
        voxel_size_A: float,
    ) -> None:
        if not (0 < radius <= consensus.shape[-1] and 0 < voxel_size_A < math.inf):
            raise ValueError(
                f"a radius of {radius:g} and voxels of {voxel_size_A:g} A do not belong to a box of "
                f"{consensus.shape[-1]}"
            )
        self._grid = BandGrid(consensus.shape[-1], radius)
        zdim = len(prior_variance)
        if consensus.dim() != 3 or table.shape != (len(self._grid), 2 * zdim):
            raise ValueError(
                f"components of shape {tuple(table.shape)} do not belong to {zdim} latents and a consensus of shape "
                f"{tuple(consensus.shape)}"
            )
        if len(noise) <= int(radius):
            raise ValueError(f"noise of {len(noise)} shells does not reach a radius of {radius:g}")
        self._tensors = {"consensus": consensus, "table": table, "prior_variance": prior_variance, "noise": noise}
        self.radius = radius
        self._voxel_size_A = voxel_size_A

    @classmethod
    def of(cls, consensus: Consensus, subspace: Subspace, voxel_size_A: float) -> Self:
        """The model that a fit found."""
        first = subspace.eigenvalues[:1]
        table, variance = subspace.basis, subspace.eigenvalues
        if len(variance):
            table, variance = table * first.sqrt(), variance / first
        return cls(consensus.volume, table, variance, consensus.noise, subspace.grid.radius, voxel_size_A)

    @property
    def zdim(self) -> int:
        """Numbers of a latent."""
        return len(self.prior_variance)

    @property
    def box(self) -> int:
        """Voxels along a side of its volumes."""
        return self.consensus.shape[-1]

    @property
    def voxel_size_A(self) -> float:
        """Of its volumes."""
        return self._voxel_size_A

    @property
    def consensus(self) -> Tensor:
        """(n, n, n), the volume of z = 0."""
        return self._tensors["consensus"]

    @property
    def prior_variance(self) -> Tensor:
        """(K,) of the latents."""
        return self._tensors["prior_variance"]

    def components(self) -> Tensor:
        """(K, n, n, n): what a unit of each latent adds."""
        if self.zdim == 0:
            return self.consensus.new_zeros(0, *self.consensus.shape)
        return self._grid.volumes_of(self._tensors["table"])

    def volumes(self, z: Tensor) -> Tensor:
        """Volumes (B, n, n, n) of latents (B, K)."""
        return whole(self.volumes_in_steps(z))

    def volumes_in_steps(self, z: Tensor) -> Parts[Tensor]:
        """The same volumes (B, n, n, n), one by one, so that none depends on which others are asked for."""
        found = self.consensus.expand(len(z), -1, -1, -1).clone()
        table = self._tensors["table"]
        for volume, latent in zip(found, z.to(table), strict=True):
            if self.zdim:
                parts = [table[:, : self.zdim] @ latent, table[:, self.zdim :] @ latent]
                volume += self._grid.volumes_of(torch.stack(parts, dim=1))[0]
            yield
        return found

    @torch.no_grad()
    def encode(self, spectra: Tensor, ctf: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of latents (N, K), see `ImageEncoder`."""
        if self.zdim == 0:
            return spectra.new_zeros(len(spectra), 0).float(), spectra.new_zeros(len(spectra), 0).float()
        disc = half_disc(self.box, self.radius, spectra.device)
        if spectra.shape[1] < len(disc):
            raise ValueError(f"spectra of {spectra.shape[1]} pixels do not reach the model's {len(disc)}")
        band = len(disc)
        found = self._scorer.scores(SeenImages(disc, spectra[:, :band], ctf[:, :band], rotations.float()))
        return found.mean, found.variance.log()

    @property
    def reach(self) -> float:
        """Frequencies at which particles differ, in cycles per box."""
        return self.radius

    @torch.no_grad()
    def slices(self, z: Tensor, points: Tensor) -> Tensor:
        """Spectra (N, M) of latents (N, K) at points (N, M, 3), see `SliceModel`."""
        consensus, *components = self._slicers
        found = consensus.sample(points)
        for number, component in enumerate(components):
            found = found + z[:, number, None].to(points) * component.sample(points)
        return found

    @torch.no_grad()
    def components_at(self, points: Tensor) -> Tensor:
        """Spectra of what a unit of each latent adds, at points (N, M, 3) within the radius: (N, M, 2, K)."""
        return self._scorer.components_at(points)

    def stored(self) -> tuple[dict[str, Tensor], Description]:
        """Tensors on the CPU, such as the consensus (n, n, n), and the description."""
        tensors = {name: value.cpu().contiguous() for name, value in self._tensors.items()}
        return tensors, {"model": NAME, "radius": self.radius, "voxel_size_A": self.voxel_size_A}

    def held(self) -> list[Tensor]:
        """Every tensor on the device: consensus (n, n, n), table (V, 2 K), and by latent and shell."""
        return list(self._tensors.values())

    @functools.cached_property
    def _slicers(self) -> list[FourierGrid]:
        return [FourierGrid.of(volume) for volume in (self.consensus, *self.components())]

    @functools.cached_property
    def _scorer(self) -> LinearScorer:
        return LinearScorer(self.consensus, self.components(), self.prior_variance, self._tensors["noise"], self.radius)


def linear_of(tensors: Mapping[str, Tensor], description: Description) -> LinearModel:
    """The linear model that `stored` gave, its consensus (n, n, n), where the tensors are.

    Raises
    ------
    ValueError
        If one is missing, or of another shape.
    """
    try:
        consensus, table, variance, noise = (
            tensors[name].float() for name in ("consensus", "table", "prior_variance", "noise")
        )
        radius, voxel_size_A = float(description["radius"]), float(description["voxel_size_A"])
    except KeyError as error:
        raise ValueError(f"the linear model has no {error}") from error
    return LinearModel(consensus, table, variance, noise, radius, voxel_size_A)


def joined_scores(
    mean: Tensor, log_variance: Tensor, prior_variance: Tensor, object_of: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores of objects that several images show each: mean and logarithm of the variance (N, K) of their images.

    Parameters
    ----------
    mean, log_variance
        (N, K) of images, each alone.
    prior_variance
        (K,) of the scores, around 0.
    object_of
        (N,) number of the object that an image shows, from 0 on.

    Notes
    -----
    What each image adds to the precision of the prior adds up, mode by mode: with p = 1 / prior variance and
    q_i = 1 / variance_i, the mean of an object is sum(q_i mean_i) / (p + sum(q_i - p)).
    """
    precision = torch.exp(-log_variance.double())
    prior = 1.0 / prior_variance.double().clamp_min(1e-12)
    sums = precision.new_zeros(2, int(object_of.max()) + 1, mean.shape[1])
    sums[0].index_add_(0, object_of, precision * mean)
    sums[1].index_add_(0, object_of, (precision - prior).clamp_min(0))
    total = prior + sums[1]
    return (sums[0] / total)[object_of].to(mean), -total.log()[object_of].to(mean)


register(NAME, linear_of)
