"""Latents do not depend on what is no property of the particles: frame, order, scale, contrast, where they were cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from support.map_jobs import run_map_job
from support.simulated_particles import SimulatedParticles, euler_matrices, simulate

pytestmark = [pytest.mark.acceptance]

COUNT, BOX = 300, 20
Change = Callable[[SimulatedParticles], SimulatedParticles]
ORDER = np.random.default_rng(5).permutation(COUNT)


@pytest.fixture(autouse=True, scope="module")
def _no_pictures() -> object:
    """Nothing here looks at a figure, and drawing takes longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FigureCanvasAgg, "draw", lambda _: None)
        patch.setattr(FigureCanvasAgg, "buffer_rgba", lambda _: np.zeros((4, 4, 4), np.uint8))
        yield


@pytest.fixture(scope="module")
def particles() -> SimulatedParticles:
    return simulate("twostate", COUNT, BOX, pixel_size_A=7.0, snr=1.0, seed=2)


def first_latent(particles: SimulatedParticles, folder: Path) -> tuple[NDArray[np.float64], float]:
    """Of each particle, and the first eigenvalue as a multiple of the null's."""
    table = particles.write(folder / "in")
    result, _ = run_map_job("vae.linear", folder / "out", {"particles": table}, {"modes": 1, "iterations": 4})
    with np.load(folder / "out" / "latents.npz") as arrays:
        return arrays["z"][:, 0].astype(float), float(result["metrics"]["eigenvalue_over_null"])


@pytest.fixture(scope="module")
def as_it_is(
    particles: SimulatedParticles, tmp_path_factory: pytest.TempPathFactory
) -> tuple[NDArray[np.float64], float]:
    return first_latent(particles, tmp_path_factory.mktemp("as_it_is"))


def turned(particles: SimulatedParticles) -> SimulatedParticles:
    """The object in another frame: rotations R of views become R times one rotation."""
    frame = Rotation.from_euler("zyz", (40, 75, -110), degrees=True).as_matrix()
    matrices = euler_matrices(particles.recorded_deg) @ frame
    # RELION's matrix is the transpose of scipy's intrinsic ZYZ.
    angles = Rotation.from_matrix(matrices.transpose(0, 2, 1)).as_euler("ZYZ", degrees=True)
    return replace(particles, recorded_deg=angles)


def reordered(particles: SimulatedParticles) -> SimulatedParticles:
    return replace(
        particles,
        images=particles.images[ORDER],
        recorded_deg=particles.recorded_deg[ORDER],
        origins_px=particles.origins_px[ORDER],
        ctf={name: column[ORDER] for name, column in particles.ctf.items()},
    )


def stronger(particles: SimulatedParticles) -> SimulatedParticles:
    return replace(particles, images=particles.images * np.float32(100))


def inverted(particles: SimulatedParticles) -> SimulatedParticles:
    return replace(particles, images=-particles.images)


def moved(particles: SimulatedParticles) -> SimulatedParticles:
    """Cut two pixels further to the right and one up: what recentres an image changes by as much."""
    images = np.roll(particles.images, (-1, 2), axis=(1, 2))
    return replace(particles, images=images, origins_px=particles.origins_px + np.array([-2.0, 1.0]))


CHANGES: dict[str, tuple[Change, float]] = {
    "stronger": (stronger, 0.9999),
    "inverted": (inverted, 0.9999),
    "reordered": (reordered, 0.97),
    "moved": (moved, 0.98),
    "turned": (turned, 0.98),
}
"""Correlation of latents: equal up to rounding, to where the fit begins, to the window's edge, to the grid."""


@pytest.mark.parametrize("name", CHANGES)
def test_same_latents(
    particles: SimulatedParticles, as_it_is: tuple[NDArray[np.float64], float], tmp_path: Path, name: str
) -> None:
    change, alike = CHANGES[name]
    found, strength = first_latent(change(particles), tmp_path)
    wanted = as_it_is[0][ORDER] if name == "reordered" else as_it_is[0]
    assert abs(np.corrcoef(found, wanted)[0, 1]) > alike
    # Another order deals other images out to other poses, and the null is one such deal.
    assert strength == pytest.approx(as_it_is[1], rel=0.5 if name == "reordered" else 0.15)


def test_threads_change_no_verdict(
    particles: SimulatedParticles, as_it_is: tuple[NDArray[np.float64], float], tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2 if before == 1 else 1)
    try:
        found, strength = first_latent(particles, tmp_path)
    finally:
        torch.set_num_threads(before)
    assert abs(np.corrcoef(found, as_it_is[0])[0, 1]) > 0.9999
    assert strength == pytest.approx(as_it_is[1], rel=0.01)
