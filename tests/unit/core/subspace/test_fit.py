"""The subspace of simulated particles: it is their motion, EM climbs, and the order of particles does not matter."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
import torch
from scipy.stats import spearmanr
from support.simulated_particles import SimulatedParticles, simulate

from cryobridge.core.subspace import (
    AgainstNoise,
    BandGrid,
    Consensus,
    LinearScorer,
    SeenImages,
    Subspace,
    SubspaceFit,
    consensus_of,
    default_radius,
    local_volume,
    nearest,
    posterior,
    widest_radius,
)

RADIUS = 7.0


@dataclass(frozen=True)
class Found:
    """Particles, and what was found of them."""

    truth: SimulatedParticles
    images: SeenImages
    consensus: Consensus
    residuals: torch.Tensor
    fit: SubspaceFit
    steps: list[Subspace]


@pytest.fixture(scope="module")
def two_states() -> Found:
    truth = simulate("twostate", 400, 20, snr=0.3)
    images = SeenImages(*truth.spectra())
    consensus, residuals = consensus_of(images)
    fit = SubspaceFit(images.with_spectra(residuals), RADIUS, consensus.prior_power)
    return Found(truth, images, consensus, residuals, fit, [one for one in fit.steps(3, 6) if one is not None])


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def test_the_consensus_is_the_mean_volume(two_states: Found):
    share = two_states.truth.coordinate.mean()
    wanted = share * two_states.truth.volume(1.0) + (1 - share) * two_states.truth.volume(0.0)
    assert correlation(two_states.consensus.volume, torch.from_numpy(wanted).float()) > 0.95


def test_residuals_hold_the_noise_and_little_else(two_states: Found):
    # Noise of variance 1 on D^2 pixels, under a window: half of its power in either part.
    outer = two_states.consensus.noise[-3:].mean()
    assert 0.3 * 200 < float(outer) < 200
    assert float(two_states.residuals.abs().square().mean()) < float(two_states.images.spectra.abs().square().mean())


def test_the_first_mode_is_what_differs(two_states: Found):
    difference = torch.from_numpy(two_states.truth.volume(1.0) - two_states.truth.volume(0.0))
    assert abs(correlation(two_states.steps[-1].volumes()[0], difference)) > 0.8


def test_latents_tell_the_states_apart(two_states: Found):
    z = two_states.fit.latents(two_states.steps[-1])[:, 0]
    assert abs(spearmanr(z, two_states.truth.coordinate)[0]) > 0.8


def test_the_likelihood_rises(two_states: Found):
    history = two_states.steps[-1].log_likelihood
    assert len(history) == 6
    assert all(later > earlier for earlier, later in itertools.pairwise(history))


def test_the_basis_is_orthonormal_and_falls(two_states: Found):
    found = two_states.steps[-1]
    volumes = found.volumes().flatten(1)
    products = volumes @ volumes.T * found.grid.box**3
    assert torch.allclose(products, torch.eye(3), atol=1e-3)
    assert (found.eigenvalues.diff() <= 0).all()


def test_permuted_residuals_give_less(two_states: Found):
    order = torch.randperm(len(two_states.images), generator=torch.Generator().manual_seed(5))
    null = two_states.fit.fit(3, 6, order=order)
    noise = AgainstNoise(two_states.steps[-1].eigenvalues, null.eigenvalues)
    assert noise.ratio > 2
    assert noise.kept == 1


def test_a_permutation_that_changes_nothing_gives_the_same(two_states: Found):
    again = two_states.fit.fit(3, 2, order=torch.arange(len(two_states.images)))
    assert torch.allclose(again.eigenvalues, two_states.steps[1].eigenvalues, rtol=1e-4)


def test_the_order_of_particles_does_not_matter(two_states: Found):
    order = torch.randperm(len(two_states.images), generator=torch.Generator().manual_seed(6))
    residuals = two_states.images.with_spectra(two_states.residuals).of(order)
    other = SubspaceFit(residuals, RADIUS, two_states.consensus.prior_power).fit(1, 9, seed=1)
    same = two_states.fit.fit(1, 9)
    assert abs(correlation(other.volumes(), same.volumes())) > 0.99
    assert float(other.eigenvalues[0]) == pytest.approx(float(same.eigenvalues[0]), rel=0.05)


def test_scores_agree_with_the_fit_and_are_calibrated(two_states: Found):
    found = two_states.steps[-1].first(1)
    noise = two_states.consensus.noise
    scorer = LinearScorer(two_states.consensus.volume, found.volumes(), found.eigenvalues, noise, RADIUS)
    scores = scorer.scores(two_states.images)
    of_fit = two_states.fit.latents(two_states.steps[-1])[:, 0]
    assert abs(correlation(scores.mean[:, 0], of_fit)) > 0.98
    spread = float(scores.mean.var() + scores.variance.mean())
    assert spread == pytest.approx(float(found.eigenvalues[0]), rel=0.35)


def test_a_volume_of_neighbours_is_that_of_their_state(two_states: Found):
    z = two_states.fit.latents(two_states.steps[-1])[:, :1]
    left = two_states.images.with_spectra(two_states.residuals)
    ends = [
        local_volume(two_states.consensus, left.of(nearest(z, end, 60)), RADIUS) for end in (z.min(0)[0], z.max(0)[0])
    ]
    difference = torch.from_numpy(two_states.truth.volume(1.0) - two_states.truth.volume(0.0))
    assert abs(correlation(ends[1] - ends[0], difference)) > 0.6


def test_the_posterior_is_that_of_the_dense_formula():
    generator = torch.Generator().manual_seed(1)
    slices = torch.randn(5, 30, 3, generator=generator)
    data = torch.randn(5, 30, generator=generator)
    prior = torch.diag(torch.tensor([1.0, 2.0, 4.0]))
    mean, covariance, gain = posterior(slices, data, prior)
    for one in range(5):
        basis, seen = slices[one].double(), data[one].double()
        # The data are normal with the covariance of noise and of what the latents add.
        whole = torch.eye(30, dtype=torch.float64) + basis @ torch.linalg.inv(prior.double()) @ basis.T
        wanted = torch.linalg.inv(prior.double()) @ basis.T @ torch.linalg.solve(whole, seen)
        assert torch.allclose(mean[one].double(), wanted, atol=1e-4)
        inverse = torch.linalg.inv(prior.double() + basis.T @ basis)
        assert torch.allclose(covariance[one].double(), inverse, atol=1e-5)
        with_latents = -0.5 * (torch.logdet(whole) + seen @ torch.linalg.solve(whole, seen))
        assert float(gain[one]) == pytest.approx(float(with_latents + 0.5 * seen @ seen), rel=1e-3)


@pytest.mark.parametrize(("box", "radius"), [(64, 11), (128, 22), (16, 4), (12, 4), (10, 3), (8, 2)])
def test_the_reach_is_in_proportion_to_the_box_and_inside_it(box: int, radius: float):
    assert default_radius(box) == radius
    grid, volume = BandGrid(box, radius), torch.rand(1, box, box, box)
    assert grid.volumes_of(grid.spectra_of(volume)).shape == volume.shape


@pytest.mark.parametrize(("box", "radius"), [(8, 2.5), (12, 4.5), (32, 14.5)])
def test_a_grid_that_is_wider_than_its_box_is_refused(box: int, radius: float):
    with pytest.raises(ValueError, match=f"is beyond a box of {box}"):
        BandGrid(box, radius)
    assert BandGrid(box, widest_radius(box)).side == box
