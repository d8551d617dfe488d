"""Backprojection against the volume that images were projected from, and against sums written out."""

from __future__ import annotations

import math

import pytest
import torch
from support.simulated_particles import SimulatedParticles, simulate
from torch import Tensor

from cryobridge.core.particles import (
    HalfSums,
    exposure_weights,
    half_disc,
    rotations_of_angles,
    spectrum_of_sums,
    volume_of_sums,
)

BOX = 24


@pytest.fixture(scope="module")
def particles() -> SimulatedParticles:
    return simulate("homogeneous", 300, BOX, snr=1.0)


def summed(particles: SimulatedParticles, use: str = "multiply", weights: Tensor | None = None) -> HalfSums:
    disc, spectra, ctf, rotations = particles.spectra()
    sums = HalfSums(BOX, "flip" if use == "flip" else "multiply")
    sums.add(disc, spectra, ctf, rotations, torch.arange(len(particles)) % 2, weights)
    return sums


def correlation(first: Tensor, second: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])


@pytest.mark.parametrize(("use", "least"), [("multiply", 0.9), ("flip", 0.75)])
def test_a_backprojection_is_the_volume(particles: SimulatedParticles, use: str, least: float) -> None:
    """Flipped phases leave amplitudes as the CTF has them, so low frequencies are weak."""
    truth = torch.from_numpy(particles.volume(0.5))
    first, second = summed(particles, use).grids()
    found = volume_of_sums(first + second)
    assert correlation(found, truth) > least
    assert correlation(found.flip(0), truth) < least - 0.1


def test_half_maps_agree_and_are_of_other_images(particles: SimulatedParticles) -> None:
    first, second = (volume_of_sums(grid) for grid in summed(particles).grids())
    assert 0.7 < correlation(first, second) < 0.99


def test_the_scale_is_that_of_the_images() -> None:
    """Projections of the map along z are images again: without noise or CTF, and views all over."""
    generator = torch.Generator().manual_seed(0)
    angles = torch.rand(1500, 3, generator=generator, dtype=torch.float64) * 360
    angles[:, 1] = torch.rad2deg(torch.acos(2 * torch.rand(1500, generator=generator, dtype=torch.float64) - 1))
    disc = half_disc(16)
    sigma = 1.7
    # A Gaussian ball: all its projections have this transform.
    spectrum = torch.exp(-2 * (math.pi * sigma * disc.radii / 16) ** 2) * (2 * math.pi * sigma**2)
    spectra = spectrum.to(torch.complex64).expand(1500, -1)
    sums = HalfSums(16)
    ones = torch.ones(1500, len(disc))
    sums.add(disc, spectra, ones, rotations_of_angles(angles).float(), torch.arange(1500) % 2)
    found = volume_of_sums(sum(sums.grids(), torch.zeros(3, 16, 16, 9)), 0.0)
    axis = torch.arange(16) - 8.0
    squared = axis[:, None] ** 2 + axis[None, :] ** 2
    wanted = torch.exp(-squared / (2 * sigma**2))
    projected = found.sum(0)
    assert float((projected - projected.mean() - (wanted - wanted.mean())).abs().max()) < 0.06


def test_regularisation_is_that_of_the_formula() -> None:
    """Counts and so many of their mean, scaled back to their mean."""
    grid = torch.rand(3, 8, 8, 5, generator=torch.Generator().manual_seed(0))
    counts = grid[2] + 0.7 * grid[2].mean()
    counts *= grid[2].mean() / counts.mean()
    wanted = torch.complex(grid[0], grid[1]) / counts
    assert torch.allclose(spectrum_of_sums(grid, 0.7), wanted, atol=1e-5)


def test_a_voxel_that_nothing_measures_is_0() -> None:
    grid = torch.ones(3, 8, 8, 5)
    grid[2, 0, 0, 0] = 0
    assert spectrum_of_sums(grid, 0.0)[0, 0, 0] == 0


def test_an_image_of_weight_0_is_left_out(particles: SimulatedParticles) -> None:
    disc, spectra, ctf, rotations = particles.spectra()
    weights = torch.ones(len(particles), 1)
    weights[100:] = 0
    some = HalfSums(BOX)
    some.add(disc, spectra[:100], ctf[:100], rotations[:100], torch.arange(100) % 2)
    for with_all, with_some in zip(summed(particles, weights=weights).grids(), some.grids(), strict=True):
        assert torch.allclose(with_all, with_some, atol=1e-3)


def test_exposure_lowers_high_frequencies_first() -> None:
    """At a dose of 2 Nc an image counts by 1/e; past 2.51284 Nc it does not count."""
    disc = half_disc(64)
    critical = 0.245 * (20.0 / (64 * 1.5)) ** -1.665 + 2.81
    at = int((disc.radii == 20.0).nonzero()[0])
    doses = torch.tensor([0.0, 2 * critical, 3 * critical], dtype=torch.float64)
    found = exposure_weights(disc, 1.5, doses, torch.tensor([0.0, 0.0, 0.0]), torch.full((3,), 300.0))
    assert found[0].min() == 1
    assert float(found[1, at]) == pytest.approx(math.exp(-1), rel=1e-4)
    assert float(found[2, at]) == 0
    assert float(found[2, 0]) > 0
    tilted = exposure_weights(disc, 1.5, doses[:1], torch.tensor([60.0]), torch.full((1,), 300.0))
    assert float(tilted[0, 5]) == pytest.approx(0.5, rel=1e-5)
    weaker = exposure_weights(disc, 1.5, doses[1:2], torch.tensor([0.0]), torch.full((1,), 200.0))
    assert float(weaker[0, at]) == pytest.approx(math.exp(-1 / 0.8), rel=1e-4)
