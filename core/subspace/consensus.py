"""The consensus of images, and what is left of them when it is taken away."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..particles import FourierGrid, SliceSums, slice_points, volume_of_grid
from .images import SeenImages, noise_of_shells
from .parts import Parts, whole

_IMAGES_AT_ONCE = 256
_LEAST_POWER = 1e-4
"""Of a shell's prior power, as a share of the largest shell's."""
_LEAST_OF_NOISE = 1e-3
"""Of the noise of a voxel, that the largest shell's power is not taken to be below."""
_SQUARED_SHARES = 8 / 27
_PADDING = 2
SPHERE_EDGE = 0.05
"""Over which the box's sphere fades, in boxes."""


@dataclass(frozen=True)
class Consensus:
    """The mean volume of images.

    Attributes
    ----------
    volume
        (n, n, n) in z, y, x, density positive.
    prior_power
        (S + 1,) by shell: mean |V|^2 of its spectrum without the noise, in the units of the images' spectra.
    noise
        (S + 1,) variance by shell of the real and imaginary parts of what the consensus leaves of the images.
    """

    volume: Tensor
    prior_power: Tensor
    noise: Tensor

    def views(self, images: SeenImages) -> Tensor:
        """Spectra (N, M) of the consensus as the images show it, CTF included."""
        return whole(self.views_in_parts(images))

    def views_in_parts(self, images: SeenImages) -> Parts[Tensor]:
        """The `views` (N, M), image by image."""
        grid = FourierGrid.of(self.volume, _PADDING)
        found = torch.empty_like(images.spectra)
        for start in range(0, len(images), _IMAGES_AT_ONCE):
            part = slice(start, start + _IMAGES_AT_ONCE)
            found[part] = grid.sample(slice_points(images.disc, images.rotations[part])) * images.ctf[part]
            yield
        return found


def consensus_of(images: SeenImages) -> tuple[Consensus, Tensor]:
    """The consensus volume of images by a Wiener filter, and their residuals (N, M); see `consensus_in_parts`."""
    return whole(consensus_in_parts(images))


def consensus_in_parts(images: SeenImages) -> Parts[tuple[Consensus, Tensor]]:
    """The consensus volume of images by a Wiener filter, and their residuals (N, M).

    With w the shares of the trilinear kernel, C the CTF, Y the spectra over the noise's deviation, the volume is
    sum w C Y / (sum w C^2 + 2 / P), where P is the shell's mean of |V|^2 of the volume without a prior, less what noise
    alone gives it. Source: the posterior mean under Gaussian noise and a Gaussian prior by shell, as in Scheres 2012,
    J Struct Biol 180, 519.
    """
    box, device = images.disc.box, images.spectra.device
    noise = noise_of_shells(images.spectra, images.disc)
    data, weight = yield from _sums_in_parts(images, noise)
    radii = grid_shells(box, device)
    power = _prior_power(data, weight, radii, len(noise))
    values = data / (weight + 2 / power[radii.clamp(max=len(power) - 1)])
    values[radii >= len(power)] = 0
    # Nothing was seen beyond the sphere but noise, which the division by the kernel blows up.
    consensus = Consensus(volume_of_grid(values, box) * _sphere(box, device), power, noise)
    residuals = images.spectra - (yield from consensus.views_in_parts(images))
    left = noise_of_shells(residuals, images.disc)
    return Consensus(consensus.volume, power, left), residuals


def consensus_sums(images: SeenImages, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Sums w C Y / noise and w C^2 / noise (n, n, n // 2 + 1) of images with a noise (S + 1,) by shell."""
    return whole(_sums_in_parts(images, noise))


def _sums_in_parts(images: SeenImages, noise: Tensor) -> Parts[tuple[Tensor, Tensor]]:
    sums = SliceSums(images.disc.box, device=images.spectra.device)
    precision = 1 / noise[images.disc.shells]
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        part = images.of(slice(start, start + _IMAGES_AT_ONCE))
        seen = part.ctf * part.spectra * precision
        values = torch.stack([seen.real, seen.imag, part.ctf.square() * precision], dim=-1)
        sums.add(slice_points(part.disc, part.rotations), values, odd=1)
        yield
    real, imaginary, weight = sums.grid(odd=1)
    return torch.complex(real, imaginary), weight


def grid_shells(box: int, device: torch.device) -> Tensor:
    """Shell of each voxel of a half grid (n, n, n // 2 + 1), DC first."""
    axis = torch.fft.fftfreq(box, 1 / box, device=device)
    half = torch.arange(box // 2 + 1, device=device)
    squared = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + half**2
    found: Tensor = squared.sqrt()
    return found.round().long()


def _prior_power(data: Tensor, weight: Tensor, shells: Tensor, count: int) -> Tensor:
    """Mean |V|^2 by shell, (count,): of a shell's voxels by how well they are seen, less what noise alone gives.

    Noise adds 2 sum w^2 C^2 to |data|^2, where the weight is sum w C^2; trilinear shares w of a point sum up to 1,
    their squares to (2/3)^3 in the mean over all places within a cell.
    """
    seen = (weight > 0) & (shells < count)
    at, weights = shells[seen], weight[seen]
    total = torch.zeros(count, device=data.device)
    sums = total.index_add(0, at, data[seen].abs().square()) - _SQUARED_SHARES * total.index_add(0, at, 2 * weights)
    power = sums / total.index_add(0, at, weights.square()).clamp_min(1e-30)
    # Images of nothing but noise have no power at all, and a prior must have some.
    least = max(float(power.max()), _LEAST_OF_NOISE * float(2 / weights.mean()))
    return power.clamp_min(_LEAST_POWER * least)


def _sphere(box: int, device: torch.device) -> Tensor:
    """(n, n, n) 1 within the box's sphere, fading to 0 at its surface."""
    axis = torch.arange(box, device=device) / box - 0.5
    distance = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2).sqrt()
    return ((0.5 - distance) / SPHERE_EDGE).clamp(0, 1)
