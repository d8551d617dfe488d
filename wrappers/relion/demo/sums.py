"""Back-projected sums of one half-set, as RELION hands them to an external reconstruction.

data = sum of CTF * image / sigma2, weight = sum of CTF^2 / sigma2, on a padded grid in FFTW's half-complex layout
(not shifted, x from 0), trilinear, zero beyond the radius in use, Hermitian in the plane x = 0. Image transforms are
divided by box^2, as RELION's are; the particle's centre is the origin of phases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .particles import Particles, Recipe, ctf, euler_matrices

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class SimulatedSums:
    """What one call is about.

    Attributes
    ----------
    data, weight
        (P, P, P // 2 + 1), P = padding * box; axes z, y, x, DC first.
    current_size
        Twice the largest Fourier radius in use, in shells of the unpadded box.
    """

    data: Complex
    weight: Array
    box: int
    padding: int
    current_size: int


def back_project(
    particles: Particles, chosen: NDArray[np.bool_], euler_deg: Array, current_size: int, padding: int = 2
) -> SimulatedSums:
    """Add the chosen particles' transforms into a padded Fourier volume.

    Parameters
    ----------
    chosen
        (n,) which particles.
    euler_deg
        (n, 3) the views they are put in at.
    current_size
        Even, at most the box.

    References
    ----------
    Scheres 2012, https://doi.org/10.1016/j.jsb.2012.09.006
    """
    recipe = particles.recipe
    box, size = recipe.box, padding * recipe.box
    r_max = current_size // 2
    ky, kx = _plane_in_use(box, r_max)
    variance = 1 / (2 * box**2)  # of either component of an image's transform; the noise has variance 1 per pixel
    data = np.zeros((size, size, size // 2 + 1), np.complex128)
    weight = np.zeros(data.shape)
    rotations = euler_matrices(euler_deg)
    indices = np.flatnonzero(chosen)
    for group in np.array_split(indices, max(1, len(indices) // 64)):
        values, weights, where = [], [], []
        for i in group:
            transform, transfer = _centred_transform(particles, int(i)), ctf(recipe, particles.defocus[i])
            values.append((transfer * transform)[ky, kx] / variance)
            weights.append((transfer**2)[ky, kx] / variance)
            in_plane = np.stack([kx, ky], axis=1).astype(np.float64)
            where.append(padding * in_plane @ rotations[i][:2])
        _add(data, weight, np.concatenate(where), np.concatenate(values), np.concatenate(weights))
    _make_hermitian(data)
    _make_hermitian(weight)
    outside = squared_radius(size) > (padding * r_max) ** 2
    data[outside] = 0
    weight[outside] = 0
    return SimulatedSums(data, weight, box, padding, current_size)


def _plane_in_use(box: int, r_max: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Signed (ky, kx >= 0) of an image's half-transform, each Friedel pair once, up to radius `r_max`."""
    ky, kx = np.meshgrid(np.arange(-(box // 2) + 1, box // 2), np.arange(box // 2), indexing="ij")
    used = (kx**2 + ky**2 <= r_max**2) & ((kx > 0) | (ky >= 0))
    return ky[used], kx[used]


def _centred_transform(particles: Particles, i: int) -> Complex:
    """Transform of image `i` over box^2, its particle moved to the origin."""
    recipe: Recipe = particles.recipe
    image = np.fft.ifftshift(particles.images[i].astype(np.float64))
    ky = np.fft.fftfreq(recipe.box, recipe.pixel_size_A)[:, None]
    kx = np.fft.rfftfreq(recipe.box, recipe.pixel_size_A)[None, :]
    x, y = particles.shift_A[i]
    back: Complex = np.exp(2j * np.pi * (kx * x + ky * y))
    return np.fft.rfft2(image) * back / recipe.box**2


def _add(data: Complex, weight: Array, where: Array, values: Complex, weights: Array) -> None:
    """Spread values and weights at fractional padded frequencies (n, 3: x, y, z) over their eight neighbours."""
    size, columns = data.shape[0], data.shape[2]
    mate = where[:, 0] < 0
    where = np.where(mate[:, None], -where, where)
    values = np.where(mate, values.conj(), values)
    corner = np.floor(where).astype(np.int64)
    part = where - corner
    for dz in (0, 1):
        for dy in (0, 1):
            for dx in (0, 1):
                share = np.prod(np.where((dx, dy, dz), part, 1 - part), axis=1)
                z, y, x = (corner[:, 2] + dz) % size, (corner[:, 1] + dy) % size, corner[:, 0] + dx
                kept = x < columns
                flat = ((z * size + y) * columns + x)[kept]
                np.add.at(data.reshape(-1), flat, (values * share)[kept])
                np.add.at(weight.reshape(-1), flat, (weights * share)[kept])


def _make_hermitian(values: Complex | Array) -> None:
    """Add to every voxel of the plane x = 0 the conjugate of its Friedel mate."""
    plane = values[:, :, 0]
    mate = np.roll(plane[::-1, ::-1], (1, 1), axis=(0, 1))
    values[:, :, 0] = plane + mate.conj()


def squared_radius(size: int) -> NDArray[np.int64]:
    """(size, size, size // 2 + 1) squared distance from DC in voxels of a half-complex grid."""
    full = np.fft.fftfreq(size, 1 / size).round().astype(np.int64)
    half = np.arange(size // 2 + 1)
    radius: NDArray[np.int64] = full[:, None, None] ** 2 + full[None, :, None] ** 2 + half[None, None, :] ** 2
    return radius
