"""Images of a particle that has lost a part of itself in some of them; everything else is as in the demo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..demo.particles import Recipe, ctf, draw_views, euler_matrices
from ..demo.specimen import Specimen, pixel_axis, project, pseudo_protein

Array = NDArray[np.float64]

_LOST_SHARE = 0.2
"""Of the atoms, in the state that has lost them: those farthest along x."""


@dataclass(frozen=True)
class MixtureRecipe:
    """What is simulated.

    Attributes
    ----------
    share_whole
        Share of the particles that have lost nothing.
    signal_to_noise
        Variance of the signal over that of the noise, inside the particle.
    micrographs
        How many the particles come from, each with a defocus of its own.
    """

    n_particles: int = 1000
    box: int = 32
    pixel_size_A: float = 5.0
    share_whole: float = 0.6
    signal_to_noise: float = 0.25
    shift_sigma_A: float = 5.0
    defocus_A: tuple[float, float] = (8000.0, 20000.0)
    micrographs: int = 20
    seed: int = 7


@dataclass(frozen=True)
class Mixture:
    """Simulated particles.

    Attributes
    ----------
    images
        (n, box, box) float32, bright on dark; noise of variance 1.
    euler_deg
        (n, 3) rot, tilt, psi.
    shift_A
        (n, 2) x, y of the particle's centre off the image's.
    defocus
        (n, 3) defocus U and V in A, angle in degrees.
    micrograph
        (n,) which micrograph each is from.
    is_whole
        (n,) whether it has lost nothing.
    """

    recipe: MixtureRecipe
    images: NDArray[np.float32]
    euler_deg: Array
    shift_A: Array
    defocus: Array
    micrograph: NDArray[np.int64]
    is_whole: NDArray[np.bool_]


def simulate_mixture(recipe: MixtureRecipe) -> Mixture:
    """Draw a specimen and its particles; the same recipe gives the same particles."""
    rng = np.random.default_rng(recipe.seed)
    whole = pseudo_protein(rng, (30.0, 26.0, 36.0), n_helices=16, atom_sigma_A=4.0)
    kept = np.argsort(whole.atoms[:, 0])[: round((1 - _LOST_SHARE) * len(whole.atoms))]
    # About the same centre: the rest of the particle does not move.
    less = Specimen(whole.atoms[kept], whole.atom_sigma_A)
    n, box = recipe.n_particles, recipe.box
    euler_deg = draw_views(rng, n, 0.0, 1.0)
    shift_A = rng.normal(0, recipe.shift_sigma_A, (n, 2))
    micrograph = np.arange(n) * recipe.micrographs // n
    of_micrograph = rng.uniform(*recipe.defocus_A, recipe.micrographs)[micrograph]
    defocus = np.stack([of_micrograph + 150, of_micrograph - 150, np.full(n, 30.0)], axis=1)
    is_whole = rng.random(n) < recipe.share_whole
    optics = Recipe(box=box, pixel_size_A=recipe.pixel_size_A)
    clean = np.empty((n, box, box))
    for i, rotation in enumerate(euler_matrices(euler_deg)):
        image = project(whole if is_whole[i] else less, rotation, shift_A[i], box, recipe.pixel_size_A)
        clean[i] = np.fft.irfft2(np.fft.rfft2(image) * ctf(optics, defocus[i]), s=image.shape)
    axis = pixel_axis(box, recipe.pixel_size_A)
    inside = np.hypot(axis[:, None], axis[None, :]) < whole.outer_radius
    sigma = np.sqrt(clean[:, inside].var(axis=1).mean() / recipe.signal_to_noise)
    images = clean / sigma + rng.normal(0, 1, clean.shape)
    return Mixture(recipe, images.astype(np.float32), euler_deg, shift_A, defocus, micrograph, is_whole)
