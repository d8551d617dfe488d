"""A linear subspace of volumes in which particles differ from their consensus: probabilistic PCA with known poses.

The residual of image i is C_i S_i (sum over k of z_ik B_k) + noise, with S_i the slice at its pose and z_i ~ N(0, I).
Sources: Tipping & Bishop 1999, J R Stat Soc B 61, 611; Punjani & Fleet 2021, J Struct Biol 213, 107702 (3D variability
analysis); Gilles & Singer 2025, PNAS 122 (regularised covariance).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..particles import slice_points
from .band_grid import BandGrid, SparseSlices, widest_radius
from .consensus import SPHERE_EDGE
from .images import SeenImages, shell_means
from .parts import Parts, whole

ITERATIONS = 6
MODES = 4
_POINTS_AT_ONCE = 1 << 18
_LEAST_KERNEL = 0.2
_MODE_POWER = 0.1
"""Prior power of a mode's shell as a share of the consensus'."""


@dataclass(frozen=True)
class Subspace:
    """Volumes in which particles differ, and by how much.

    Attributes
    ----------
    grid
        Where the spectra lie.
    basis
        (V, 2 K) float32, real parts then imaginary parts of K orthonormal spectra, by falling eigenvalue.
    eigenvalues
        (K,) variance of the particles along each, in the units of the images' spectra squared.
    noise
        (S + 1,) variance by shell of the real and imaginary parts.
    log_likelihood
        After each iteration, of the residuals and up to a constant.
    """

    grid: BandGrid
    basis: Tensor
    eigenvalues: Tensor
    noise: Tensor
    log_likelihood: Sequence[float]

    @property
    def modes(self) -> int:
        """K."""
        return len(self.eigenvalues)

    def volumes(self) -> Tensor:
        """(K, n, n, n) real volumes of unit latents along each mode, zero beyond the radius."""
        return self.grid.volumes_of(self.basis)

    def first(self, count: int) -> Subspace:
        """The first modes alone."""
        kept = torch.cat([self.basis[:, :count], self.basis[:, self.modes : self.modes + count]], dim=1)
        return Subspace(self.grid, kept, self.eigenvalues[:count], self.noise, self.log_likelihood)


@dataclass(frozen=True)
class _Block:
    """Some of the images, their slices, and the real and imaginary parts of their residuals (Q, 2)."""

    slices: SparseSlices
    residuals: Tensor
    ctf: Tensor


class SubspaceFit:
    """The residuals of images with their slices, on which subspaces are fitted, with true poses and permuted ones.

    Parameters
    ----------
    images
        With residuals as spectra: images without their consensus.
    radius
        Reach of the modes, in cycles per box.
    prior_power
        (S + 1,) of the consensus.
    mask
        (n, n, n), 0 to 1: the modes are zero outside; within the box's sphere if None.
    """

    def __init__(self, images: SeenImages, radius: float, prior_power: Tensor, mask: Tensor | None = None) -> None:
        seen = images.within(radius)
        self._seen = seen
        self._disc = seen.disc
        self.grid = BandGrid(seen.disc.box, radius)
        self._count = len(seen)
        self._blocks: list[_Block] = []
        shells = self.grid.radii(seen.spectra.device).round().long().clamp(max=len(prior_power) - 1)
        self._precision = 2 / (_MODE_POWER * prior_power[shells])
        distance, kernel = self.grid.coarse_radii(seen.spectra.device)
        support = ((0.5 - distance) / SPHERE_EDGE).clamp(0, 1)
        if mask is not None:
            support = support * _coarse(mask, self.grid.side)
        self._support, self._kernel = support, kernel

    def steps(
        self, modes: int = MODES, iterations: int = ITERATIONS, *, seed: int = 0, order: Tensor | None = None
    ) -> Generator[Subspace | None, None, None]:
        """The subspace after each iteration of expectation and maximisation; None between blocks of images.

        Parameters
        ----------
        order
            (N,) a permutation: residual and CTF order[i] are taken for those of image i's pose. None for none.
        """
        generator = torch.Generator().manual_seed(seed)
        device = self._precision.device
        z = torch.randn(self._count, modes, generator=generator).to(device)
        yield from self._set_up()
        blocks = self._blocks if order is None else self._permuted(order)
        noise = self._noise(blocks)
        moments = z[:, :, None] * z[:, None, :]
        history: list[float] = []
        for _ in range(iterations):
            basis = yield from self._maximised(blocks, z, moments, noise)
            # Putting back and taking each blur with the trilinear kernel: sinc^2 in real space.
            basis = self.grid.in_space(basis, self._support / self._kernel)
            z, moments, noise, likelihood = yield from self._expected(blocks, basis, noise)
            history.append(likelihood)
            lower = torch.linalg.cholesky(moments.mean(dim=0))
            inverse = torch.linalg.inv(lower)
            z, moments = z @ inverse.T, inverse @ moments @ inverse.T
            basis = torch.cat([basis[:, :modes] @ lower, basis[:, modes:] @ lower], dim=1)
            yield self._ordered(basis, noise, tuple(history))

    def fit(
        self, modes: int = MODES, iterations: int = ITERATIONS, *, seed: int = 0, order: Tensor | None = None
    ) -> Subspace:
        """The last of the `steps`; order (N,) as there."""
        return whole(self.fit_in_parts(modes, iterations, seed=seed, order=order))

    def fit_in_parts(
        self, modes: int = MODES, iterations: int = ITERATIONS, *, seed: int = 0, order: Tensor | None = None
    ) -> Parts[Subspace]:
        """The last of the `steps`, block by block; order (N,) as there."""
        last: Subspace | None = None
        for found in self.steps(modes, iterations, seed=seed, order=order):
            last = last if found is None else found
            yield
        if last is None:
            raise ValueError(f"{iterations} iterations find nothing")
        return last

    def latents(self, subspace: Subspace) -> Tensor:
        """Latents (N, K) of the images that are fitted on, in the units of the eigenvalues."""
        return whole(self.latents_in_parts(subspace))

    def latents_in_parts(self, subspace: Subspace) -> Parts[Tensor]:
        """The `latents` (N, K), block by block."""
        scale = subspace.eigenvalues.sqrt()
        yield from self._set_up()
        mean, _, _, _ = yield from self._expected(self._blocks, subspace.basis * scale.repeat(2), subspace.noise)
        return mean * scale

    def _set_up(self) -> Parts[None]:
        """Make the blocks, once."""
        per_block = max(1, _POINTS_AT_ONCE // len(self._disc))
        for start in range(len(self._blocks) * per_block, self._count, per_block):
            self._blocks.append(_block(self.grid, self._seen.of(slice(start, start + per_block))))
            yield

    def _noise(self, blocks: Sequence[_Block]) -> Tensor:
        total = sum(block.residuals.square().sum(dim=1).reshape(-1, len(self._disc)).sum(dim=0) for block in blocks)
        return shell_means(0.5 * torch.as_tensor(total) / self._count, self._disc)

    def _permuted(self, order: Tensor) -> list[_Block]:
        """The blocks with residuals and CTF of other images; signs as the poses have them."""
        pixels = len(self._disc)
        signs = torch.cat([_signs(block.slices) for block in self._blocks])
        residuals = torch.cat([block.residuals for block in self._blocks]) * signs
        moved = residuals.reshape(self._count, pixels, 2)[order].reshape(-1, 2) * signs
        ctf = torch.cat([block.ctf for block in self._blocks]).reshape(self._count, pixels)[order].reshape(-1)
        found, start = [], 0
        for block in self._blocks:
            part = slice(start, start + len(block.ctf))
            found.append(_Block(block.slices, moved[part], ctf[part]))
            start = part.stop
        return found

    def _maximised(self, blocks: Sequence[_Block], z: Tensor, moments: Tensor, noise: Tensor) -> Parts[Tensor]:
        """The basis (V, 2 K) of greatest posterior for given latents, voxel by voxel."""
        modes, pixels = z.shape[1], len(self._disc)
        upper = torch.triu_indices(modes, modes, device=z.device)
        pairs = upper.shape[1]
        over_noise = (1 / noise)[self._disc.shells]
        sums = torch.zeros(len(self.grid), pairs + 2 * modes, device=z.device)
        start = 0
        for block in blocks:
            count = len(block.ctf) // pixels
            part = slice(start, start + count)
            start += count
            weighted = block.ctf.reshape(count, pixels) * over_noise
            squares = weighted * block.ctf.reshape(count, pixels)
            seen = block.residuals.reshape(count, pixels, 2, 1) * weighted[:, :, None, None] * z[part, None, None, :]
            products = moments[part][:, upper[0], upper[1]]
            values = torch.cat([squares[:, :, None] * products[:, None, :], seen.flatten(2)], dim=2)
            sums += block.slices.put(values.reshape(-1, pairs + 2 * modes))
            yield
        sums = self.grid.mated(sums, slice(pairs + modes, None))
        gram = torch.zeros(len(self.grid), modes, modes, device=z.device)
        gram[:, upper[0], upper[1]] = sums[:, :pairs]
        gram[:, upper[1], upper[0]] = sums[:, :pairs]
        gram.diagonal(dim1=1, dim2=2).add_(self._precision[:, None])
        sides = sums[:, pairs:].reshape(-1, 2, modes).transpose(1, 2)
        found: Tensor = torch.linalg.solve(gram, sides).transpose(1, 2).reshape(-1, 2 * modes)
        # Beyond the band there is a rim of voxels that few points touch.
        return found * self.grid.inside(z.device)[:, None]

    def _expected(
        self, blocks: Sequence[_Block], basis: Tensor, noise: Tensor
    ) -> Parts[tuple[Tensor, Tensor, Tensor, float]]:
        """Latents (N, K), their second moments, the noise they leave, and the log likelihood before that."""
        pixels, modes = len(self._disc), basis.shape[1] // 2
        sampled = self.grid.in_space(basis, 1 / self._kernel.clamp_min(_LEAST_KERNEL))
        scale = noise[self._disc.shells].rsqrt()
        means, moments, likelihood = [], [], 0.0
        left = torch.zeros(pixels, device=basis.device)
        unit = torch.eye(modes, device=basis.device)
        for block in blocks:
            slices = block.slices.take(sampled).reshape(-1, pixels, 2, modes)
            slices *= (block.ctf.reshape(-1, pixels) * scale)[:, :, None, None]
            data = block.residuals.reshape(-1, pixels, 2) * scale[:, None]
            mean, covariance, gain = posterior(slices.flatten(1, 2), data.flatten(1), unit)
            rest = data - (slices.flatten(1, 2) @ mean[:, :, None]).reshape(data.shape)
            # What is uncertain of the latents adds K - tr(covariance) to the sum over an image's pixels.
            spread = (modes - covariance.diagonal(dim1=1, dim2=2).sum(dim=1)).sum() / pixels
            left += rest.square().sum(dim=(0, 2)) + spread
            likelihood += float((gain - 0.5 * data.square().sum(dim=(1, 2)) + 2 * scale.log().sum()).double().sum())
            means.append(mean)
            moments.append(mean[:, :, None] * mean[:, None, :] + covariance)
            yield
        found = shell_means(0.5 * left / self._count, self._disc) * noise[: int(self._disc.shells[-1]) + 1]
        return torch.cat(means), torch.cat(moments), found, likelihood

    def _ordered(self, basis: Tensor, noise: Tensor, history: Sequence[float]) -> Subspace:
        """Orthonormal spectra by falling eigenvalue."""
        modes = basis.shape[1] // 2
        stacked = real_columns(self.grid, basis)
        values, vectors = torch.linalg.eigh(stacked.T @ stacked)
        values, vectors = values.flip(0).clamp_min(1e-30), vectors.flip(1)
        turn = (vectors / values.sqrt()).float()
        found = torch.cat([basis[:, :modes] @ turn, basis[:, modes:] @ turn], dim=1)
        return Subspace(self.grid, found, values.float(), noise, history)


def posterior(slices: Tensor, data: Tensor, precision: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Posterior of latents under Gaussian noise of variance 1.

    Parameters
    ----------
    slices
        (N, P, K): what a unit of each latent adds to the P numbers of an image.
    data
        (N, P).
    precision
        (K, K) of the prior, whose mean is 0.

    Returns
    -------
    Mean (N, K), covariance (N, K, K), and (N,) by how much the log likelihood is above that of noise alone.

    Notes
    -----
    G = precision + S'S, mean = G^-1 S'y; the gain is (b'G^-1 b - log det G + log det precision) / 2 with b = S'y.
    """
    gram = slices.transpose(1, 2) @ slices + precision
    sides = (slices.transpose(1, 2) @ data[:, :, None])[:, :, 0]
    lower = torch.linalg.cholesky(gram)
    covariance = torch.cholesky_inverse(lower)
    mean = (covariance @ sides[:, :, None])[:, :, 0]
    determinant = 2 * lower.diagonal(dim1=1, dim2=2).log().sum(dim=1) - torch.logdet(precision)
    return mean, covariance, 0.5 * ((mean * sides).sum(dim=1) - determinant)


def real_columns(grid: BandGrid, table: Tensor) -> Tensor:
    """Spectra (V, 2 K) as columns (2 V, K) float64, whose inner products are those of the volumes, up to a factor."""
    count = table.shape[1] // 2
    weights = grid.weights(table.device).sqrt()[:, None]
    return torch.cat([table[:, :count] * weights, table[:, count:] * weights]).double()


def default_radius(box: int) -> float:
    """Reach of the modes in cycles per box that the trials chose, 11 of 32, for other boxes in proportion.

    Small boxes get more than that, as far as there is more.
    """
    return min(max(4.0, math.floor(11 * box / 64)), widest_radius(box))


def _block(grid: BandGrid, images: SeenImages) -> _Block:
    slices = SparseSlices(grid, slice_points(images.disc, images.rotations))
    residuals = torch.view_as_real(images.spectra).reshape(-1, 2)
    return _Block(slices, residuals * _signs(slices), images.ctf.reshape(-1))


def _coarse(mask: Tensor, side: int) -> Tensor:
    """A mask (n, n, n) at the (L, L, L) voxels of a coarser sampling of its box."""
    axis = torch.arange(side, device=mask.device) / side * mask.shape[-1]
    places = axis * (2 / (mask.shape[-1] - 1)) - 1
    z, y, x = torch.meshgrid(places, places, places, indexing="ij")
    found = torch.nn.functional.grid_sample(
        mask[None, None].float(), torch.stack([x, y, z], dim=-1)[None], align_corners=True
    )
    return found[0, 0]


def _signs(slices: SparseSlices) -> Tensor:
    """(Q, 2) that turn values into those of Friedel mates where the slices are taken there."""
    odd = torch.where(slices.flipped, -1.0, 1.0)
    return torch.stack([torch.ones_like(odd), odd], dim=1)
