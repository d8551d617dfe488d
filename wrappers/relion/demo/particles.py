"""Particle images of a specimen: views that prefer an orientation, CTF, shifts and noise.

Angles, shifts and CTF follow RELION's conventions (ZYZ Euler angles; a shift is stored as what brings the particle
back to the centre; the CTF is positive at zero frequency).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from .specimen import Specimen, density, pixel_axis, project, pseudo_protein, ring_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """What is simulated.

    Attributes
    ----------
    kappa
        Concentration of the views about +z and -z (von Mises-Fisher); 0: none preferred.
    uniform_fraction
        Share of the particles whose view is drawn evenly whatever `kappa`.
    signal_to_noise
        Variance of the signal over that of the noise, inside the particle.
    fold, radius_A
        Of a specimen with point group Cn: how many copies stand about the z axis, and how far off it. 1: a single one.
    """

    box: int = 48
    pixel_size_A: float = 3.2
    n_particles: int = 1200
    kappa: float = 12.0
    uniform_fraction: float = 0.02
    signal_to_noise: float = 0.5
    shift_sigma_A: float = 4.0
    defocus_A: tuple[float, float] = (8000.0, 20000.0)
    voltage_kV: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.1
    n_helices: int = 28
    semi_axes_A: tuple[float, float, float] = (38.0, 31.0, 45.0)
    seed: int = 7
    fold: int = 1
    radius_A: float = 0.0


@dataclass(frozen=True)
class Particles:
    """A simulated data set.

    Attributes
    ----------
    images
        (n, box, box) float32; noise of variance 1.
    euler_deg
        (n, 3) rot, tilt, psi.
    shift_A
        (n, 2) x, y of the particle's centre off the image's.
    defocus
        (n, 3) defocus U and V in A, angle in degrees.
    truth
        (box, box, box) map, axes z, y, x, on the scale of `images`.
    """

    recipe: Recipe
    specimen: Specimen
    images: NDArray[np.float32]
    euler_deg: Array
    shift_A: Array
    defocus: Array
    truth: Array

    @property
    def halves(self) -> NDArray[np.int64]:
        """(n,) 1 or 2: the half-set of every particle."""
        return np.arange(len(self.images)) % 2 + 1


def simulate(recipe: Recipe) -> Particles:
    """Draw a specimen and its particle images; the same recipe gives the same particles."""
    rng = np.random.default_rng(recipe.seed)
    specimen = pseudo_protein(rng, recipe.semi_axes_A, recipe.n_helices)
    if recipe.fold > 1:
        specimen = ring_of(specimen, recipe.fold, recipe.radius_A)
    n, box = recipe.n_particles, recipe.box
    euler_deg = draw_views(rng, n, recipe.kappa, recipe.uniform_fraction)
    shift_A = rng.normal(0, recipe.shift_sigma_A, (n, 2))
    mean_defocus = rng.uniform(*recipe.defocus_A, n)
    defocus = np.stack([mean_defocus + 150, mean_defocus - 150, rng.uniform(0, 180, n)], axis=1)
    axis = pixel_axis(box, recipe.pixel_size_A)
    inside = np.hypot(axis[:, None], axis[None, :]) < specimen.outer_radius
    clean = np.empty((n, box, box))
    for i, rotation in enumerate(euler_matrices(euler_deg)):
        image = project(specimen, rotation, shift_A[i], box, recipe.pixel_size_A)
        clean[i] = np.fft.irfft2(np.fft.rfft2(image) * ctf(recipe, defocus[i]), s=image.shape)
    noise_sigma = np.sqrt(clean[:, inside].var(axis=1).mean() / recipe.signal_to_noise)
    images = clean / noise_sigma + rng.normal(0, 1, clean.shape)
    truth = density(specimen, box, recipe.pixel_size_A) / noise_sigma
    return Particles(recipe, specimen, images.astype(np.float32), euler_deg, shift_A, defocus, truth)


def draw_views(rng: np.random.Generator, n: int, kappa: float, uniform_fraction: float) -> Array:
    """(n, 3) rot, tilt, psi in degrees: caps about +z and -z mixed with an even background."""
    even = rng.uniform(-1, 1, n)
    if kappa > 0:
        u = rng.random(n)
        capped = 1 + np.log(u + (1 - u) * np.exp(-2 * kappa)) / kappa
        capped = capped * np.where(rng.random(n) < 0.5, 1, -1)
    else:
        capped = rng.uniform(-1, 1, n)
    cosine = np.where(rng.random(n) < uniform_fraction, even, capped)
    tilt = np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))
    return np.stack([rng.uniform(-180, 180, n), tilt, rng.uniform(-180, 180, n)], axis=1)


def euler_matrices(euler_deg: Array) -> Array:
    """(n, 3, 3) rotations of the 3DEM convention (ZYZ): projection coordinates = matrix @ object coordinates.

    References
    ----------
    Heymann, Chagoyen, Belnap 2005, https://doi.org/10.1016/j.jsb.2005.06.001
    """
    a, b, c = np.deg2rad(euler_deg).T
    ca, sa, cb, sb, cg, sg = np.cos(a), np.sin(a), np.cos(b), np.sin(b), np.cos(c), np.sin(c)
    rows = [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def ctf(recipe: Recipe, defocus: Array) -> Array:
    """(box, box // 2 + 1) contrast transfer function in rfft2 layout, positive at zero frequency.

    Parameters
    ----------
    defocus
        Defocus U and V in A (positive: underfocus) and the angle of U in degrees.
    """
    volts = recipe.voltage_kV * 1e3
    wavelength_A = 12.2643247 / np.sqrt(volts * (1 + volts * 0.978466e-6))
    ky = np.fft.fftfreq(recipe.box, recipe.pixel_size_A)[:, None]
    kx = np.fft.rfftfreq(recipe.box, recipe.pixel_size_A)[None, :]
    k2 = kx**2 + ky**2
    angle = np.arctan2(ky, kx) - np.deg2rad(defocus[2])
    along = 0.5 * (defocus[0] + defocus[1]) + 0.5 * (defocus[0] - defocus[1]) * np.cos(2 * angle)
    spherical = 0.5 * np.pi * recipe.spherical_aberration_mm * 1e7 * wavelength_A**3 * k2**2
    phase = np.pi * wavelength_A * along * k2 - spherical
    transfer: Array = np.sin(phase + np.arcsin(recipe.amplitude_contrast))
    return transfer


def perturbed(rng: np.random.Generator, euler_deg: Array, error_deg: float) -> Array:
    """Views turned by a random rotation of about `error_deg` (root mean square), as (n, 3) Euler angles."""
    turns = Rotation.from_rotvec(np.deg2rad(rng.normal(0, error_deg / np.sqrt(3), (len(euler_deg), 3))))
    return matrices_to_euler(turns.as_matrix() @ euler_matrices(euler_deg))


def matrices_to_euler(matrices: Array) -> Array:
    """The inverse of `euler_matrices`."""
    tilt = np.arccos(np.clip(matrices[:, 2, 2], -1, 1))
    rot = np.arctan2(matrices[:, 2, 1], matrices[:, 2, 0])
    psi = np.arctan2(matrices[:, 1, 2], -matrices[:, 0, 2])
    pole = np.sin(tilt) < 1e-9
    alone = np.arctan2(matrices[:, 0, 1], matrices[:, 1, 1])
    rot, psi = np.where(pole, 0.0, rot), np.where(pole, alone, psi)
    euler_deg: Array = np.rad2deg(np.stack([rot, tilt, psi], axis=1))
    return euler_deg
