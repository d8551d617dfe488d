"""A pseudo-protein: helices of Gaussian atoms packed in an ellipsoid.

Because every atom is a Gaussian, density and projections are products of one-dimensional Gaussians: exact, with
no interpolation anywhere, so that what a reconstruction gets wrong is its own doing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]

# (radius in A, twist in degrees, rise in A) of N, CA, C, O and CB about the axis of an alpha helix.
_BACKBONE = ((1.6, 28.0, -0.9), (2.3, 0.0, 0.0), (1.7, -27.0, 1.1), (2.0, -50.0, 2.2), (3.3, -20.0, -0.2))
_RISE_A = 1.5
_TURN_DEG = 100.0
_REACH_SIGMA = 5.0  # beyond this an atom's share of an image is below 4e-6 of its peak


@dataclass(frozen=True)
class Specimen:
    """Atoms of a particle.

    Attributes
    ----------
    atoms
        (n, 3) coordinates x, y, z in A about their centre of mass.
    atom_sigma_A
        Width of an atom.
    """

    atoms: Array
    atom_sigma_A: float

    @property
    def outer_radius(self) -> float:
        """Distance of the farthest atom from the centre with its skirt, in A."""
        return float(np.sqrt((self.atoms**2).sum(1)).max() + 2.5 * self.atom_sigma_A)


def pseudo_protein(
    rng: np.random.Generator,
    semi_axes_A: tuple[float, float, float] = (42.0, 34.0, 50.0),
    n_helices: int = 40,
    atom_sigma_A: float = 1.6,
) -> Specimen:
    """Pack helices into an ellipsoid and add a lobe that breaks the symmetry of its outline."""
    semi = np.asarray(semi_axes_A)
    parts: list[Array] = []
    middles: list[Array] = []
    for _ in range(20000):
        if len(middles) == n_helices:
            break
        direction = rng.normal(size=3)
        middle = direction / np.linalg.norm(direction) * rng.random() ** (1 / 3) * semi * 0.85
        if any(np.linalg.norm(middle - other) < 9.5 for other in middles):
            continue
        n_residues = int(rng.integers(8, 22))
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        helix = _helix(rng, n_residues, middle - axis * 0.5 * _RISE_A * n_residues, axis)
        if ((helix / semi) ** 2).sum(1).max() < 1.15:
            parts.append(helix)
            middles.append(middle)
    lobe = _helix(rng, 16, np.array([0.55, 0.35, 0.55]) * semi, np.array([1.0, 0.6, 0.9]))
    atoms = np.concatenate([*parts, lobe, lobe + np.array([5.0, -6.0, 3.0])])
    return Specimen(atoms - atoms.mean(0), atom_sigma_A)


def ring_of(specimen: Specimen, fold: int, radius_A: float) -> Specimen:
    """Put `fold` copies about the z axis, `radius_A` off it, each turned onto the next: point group Cn."""
    angles = 2 * np.pi * np.arange(fold) / fold
    placed = specimen.atoms + np.array([radius_A, 0.0, 0.0])
    x, y, z = placed.T
    turned = [np.stack([np.cos(a) * x - np.sin(a) * y, np.sin(a) * x + np.cos(a) * y, z], axis=1) for a in angles]
    return Specimen(np.concatenate(turned), specimen.atom_sigma_A)


def _helix(rng: np.random.Generator, n_residues: int, start: Array, axis: Array) -> Array:
    axis = axis / np.linalg.norm(axis)
    u = np.cross(axis, [0.3, 0.5, 0.8])
    u /= np.linalg.norm(u)
    v = np.cross(axis, u)
    atoms = []
    for residue in range(n_residues):
        angle = np.deg2rad(_TURN_DEG * residue)
        for radius, twist, rise in _BACKBONE:
            a = angle + np.deg2rad(twist)
            atoms.append(start + axis * (_RISE_A * residue + rise) + radius * (np.cos(a) * u + np.sin(a) * v))
        for k in range(int(rng.integers(0, 4))):
            side = (4.5 + 1.3 * k) * (np.cos(angle) * u + np.sin(angle) * v)
            atoms.append(start + axis * _RISE_A * residue + side)
    return np.array(atoms)


def pixel_axis(box: int, pixel_size_A: float) -> Array:
    """Coordinates in A of the pixels along one axis; 0 at pixel box // 2."""
    return (np.arange(box, dtype=np.float64) - box // 2) * pixel_size_A


def density(specimen: Specimen, box: int, pixel_size_A: float) -> Array:
    """The specimen as a (box, box, box) map, axes z, y, x, centre at voxel box // 2."""
    axis = pixel_axis(box, pixel_size_A)
    x, y, z = (_gaussians(specimen.atoms[:, i], axis, specimen.atom_sigma_A) for i in range(3))
    volume: Array = np.einsum("ak,aj,ai->kji", z, y, x, optimize=True)
    return volume


def project(specimen: Specimen, rotation: Array, shift_A: Array, box: int, pixel_size_A: float) -> Array:
    """The sum over z of the rotated and shifted specimen's map: a (box, box) image, axes y, x.

    Parameters
    ----------
    rotation
        (3, 3), takes object coordinates to projection coordinates.
    shift_A
        (x, y) by which the particle is off the image's centre.
    """
    xy = (specimen.atoms @ rotation[:2].T + shift_A) / pixel_size_A + box // 2
    sigma = specimen.atom_sigma_A / pixel_size_A
    reach = int(np.ceil(_REACH_SIGMA * sigma))
    corner = np.floor(xy).astype(np.int64) - reach
    pixels = corner[:, :, None] + np.arange(2 * reach + 2)
    profile = np.exp(-0.5 * ((pixels - xy[:, :, None]) / sigma) ** 2)
    profile[(pixels < 0) | (pixels >= box)] = 0
    pixels = np.clip(pixels, 0, box - 1)
    value = profile[:, 1, :, None] * profile[:, 0, None, :]
    where = pixels[:, 1, :, None] * box + pixels[:, 0, None, :]
    image = np.bincount(where.ravel(), value.ravel(), box * box).reshape(box, box)
    scaled: Array = image * (np.sqrt(2 * np.pi) * sigma)
    return scaled


def _gaussians(coordinates: Array, axis: Array, sigma: float) -> Array:
    profile: Array = np.exp(-0.5 * ((axis[None, :] - coordinates[:, None]) / sigma) ** 2)
    return profile


def solvent_mask(volume: Array, edge_voxels: int = 5) -> Array:
    """A mask of 1 about the density of `volume`, falling to 0 with a cosine edge."""
    smooth = ndimage.gaussian_filter(volume, 2.0)
    inside = ndimage.binary_dilation(smooth > 0.04 * smooth.max(), iterations=2)
    distance = np.clip(ndimage.distance_transform_edt(~inside), 0, edge_voxels)
    mask: Array = 0.5 + 0.5 * np.cos(np.pi * distance / edge_voxels)
    return mask


def low_passed(volume: Array, pixel_size_A: float, resolution_A: float, edge_shells: float = 2.0) -> Array:
    """`volume` with nothing beyond `resolution_A`, over a cosine edge of `edge_shells`."""
    n = volume.shape[0]
    full, half = np.fft.fftfreq(n), np.fft.rfftfreq(n)
    radius = n * np.sqrt(full[:, None, None] ** 2 + full[None, :, None] ** 2 + half[None, None, :] ** 2)
    ramp = np.clip((n * pixel_size_A / resolution_A + edge_shells / 2 - radius) / edge_shells, 0, 1)
    spectrum = np.fft.rfftn(volume) * (0.5 - 0.5 * np.cos(np.pi * ramp))
    filtered: Array = np.fft.irfftn(spectrum, s=volume.shape, axes=(0, 1, 2))
    return filtered
