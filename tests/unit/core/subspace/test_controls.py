"""Controls against what they are for: pose errors look like tangents, junk is told apart, what explains is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.simulated_particles import simulate

from cryobridge.core.particles import rotations_of_angles
from cryobridge.core.subspace import (
    BandGrid,
    SeenImages,
    Subspace,
    SubspaceFit,
    agreement,
    consensus_of,
    explained_by_group,
    explained_by_number,
    explained_by_view,
    low_passed,
    pose_tangents,
    repair_in_parts,
    share_within,
    shared_directions,
    split_of,
    whole,
)

RADIUS = 7.0


def subspace_of(volumes: torch.Tensor) -> Subspace:
    grid = BandGrid(volumes.shape[-1], RADIUS)
    table = grid.spectra_of(volumes)
    count = len(volumes)
    norm = (grid.weights("cpu")[:, None] * (table[:, :count] ** 2 + table[:, count:] ** 2)).sum(dim=0).sqrt()
    return Subspace(grid, table / norm.repeat(2), torch.ones(count), torch.ones(9), ())


@pytest.fixture(scope="module")
def volume() -> torch.Tensor:
    return low_passed(torch.from_numpy(simulate("homogeneous", 2, 20).volume(0.5)), RADIUS)


@pytest.mark.parametrize("box", [8, 10, 12, 32])
def test_a_low_pass_reaches_as_far_as_it_is_asked_to(box: int):
    """To the corners too, where no grid of the fit reaches."""
    volume = torch.rand(box, box, box, generator=torch.Generator().manual_seed(1))
    axis = torch.fft.fftfreq(box, 1 / box)
    beyond = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2).sqrt() > 14.5
    left = torch.fft.fftn(low_passed(volume, 14.5))
    assert torch.allclose(left, torch.fft.fftn(volume).masked_fill(beyond, 0), atol=1e-2)
    grid = BandGrid(box, box / 2 - 2)
    of_grid = grid.volumes_of(grid.spectra_of(volume[None]))[0]
    assert torch.allclose(low_passed(volume, grid.radius), of_grid, atol=1e-5)


def blobs(places: torch.Tensor) -> torch.Tensor:
    """Gaussians at (K, 3) in x, y, z about the centre, (20, 20, 20) in z, y, x."""
    axis = torch.arange(20.0) - 10
    x, y, z = (torch.exp(-((axis - places[:, i, None]) ** 2) / 4.5) for i in range(3))
    return torch.einsum("kz,ky,kx->zyx", z, y, x)


@pytest.mark.parametrize("number", range(6))
def test_a_small_move_or_turn_of_atoms_is_minus_its_tangent(number: int):
    places = 8 * (torch.rand(30, 3, generator=torch.Generator().manual_seed(4)) - 0.5)
    axis, step = torch.eye(3)[number % 3], 0.02
    other = places + step * (axis if number < 3 else torch.linalg.cross(axis.expand_as(places), places))
    difference = blobs(other) - blobs(places)
    wanted = -step * pose_tangents(blobs(places))[number]
    assert float((difference - wanted).norm() / wanted.norm()) < 0.05
    assert float(share_within(subspace_of(difference[None]), pose_tangents(blobs(places)))[0]) > 0.99


def test_what_is_elsewhere_is_no_tangent(volume: torch.Tensor):
    other = torch.zeros_like(volume)
    other[3:6, 12:16, 4:8] = 1
    assert float(share_within(subspace_of(other[None]), pose_tangents(volume))[0]) < 0.4


def test_subspaces_share_what_both_hold():
    volumes = torch.randn(3, 20, 20, 20, generator=torch.Generator().manual_seed(1))
    one, other = subspace_of(volumes[:1]), subspace_of(volumes[1:2])
    assert float(shared_directions(one, one)[0]) == pytest.approx(1, abs=1e-5)
    assert float(shared_directions(one, other)[0]) < 0.2


def test_wrong_poses_are_seen_and_repaired():
    truth = simulate("homogeneous", 500, 20, snr=1.0, pose_error_deg=6.0)
    images = SeenImages(*truth.spectra())
    consensus, residuals = consensus_of(images)
    subspace = SubspaceFit(images.with_spectra(residuals), RADIUS, consensus.prior_power).fit(2, 5)
    assert float(share_within(subspace, pose_tangents(low_passed(consensus.volume, RADIUS)))[0]) > 0.6
    right = rotations_of_angles(torch.from_numpy(truth.angles_deg)).float()

    def error_deg(rotations: torch.Tensor) -> float:
        cosine = (torch.einsum("nij,nij->n", rotations, right) - 1) / 2
        return float(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))).mean())

    better = whole(repair_in_parts(images, consensus, residuals, 8.0))
    assert error_deg(better.images.rotations) < 0.8 * error_deg(images.rotations)


def test_images_without_a_particle_agree_least():
    truth = simulate("homogeneous", 200, 20, snr=0.5, junk_share=0.25)
    images = SeenImages(*truth.spectra())
    consensus, _ = consensus_of(images)
    found = agreement(consensus, images, RADIUS)
    split = split_of(found)
    assert split.is_clear
    assert ((found < split.threshold).numpy() != truth.junk).sum() <= 2


def test_one_hill_is_no_clear_split():
    assert not split_of(torch.randn(2000, generator=torch.Generator().manual_seed(1))).is_clear


def test_a_split_is_where_two_groups_part():
    split = split_of(torch.tensor([1.0, 1.1, 0.9, 5.0, 5.2]))
    assert split.threshold == pytest.approx((1.1 + 5.0) / 2)
    assert split.share > 0.99
    assert split_of(torch.ones(4)).share == 0


def test_what_explains_a_latent_is_found_and_nothing_else():
    rng = np.random.default_rng(1)
    numbers, groups = torch.from_numpy(rng.normal(size=600)), torch.from_numpy(rng.integers(0, 5, 600))
    rotations = rotations_of_angles(torch.from_numpy(rng.uniform(-180, 180, (600, 3))))
    noise = torch.from_numpy(rng.normal(size=600))
    latents = torch.stack([numbers**3, rotations[:, 2, 0] ** 2, 2.0 * groups + 0.1 * noise, noise], dim=1)
    assert torch.allclose(explained_by_number(latents, numbers), torch.tensor([1.0, 0, 0, 0]), atol=0.03)
    assert torch.allclose(explained_by_view(latents, rotations), torch.tensor([0, 1.0, 0, 0]), atol=0.03)
    assert torch.allclose(explained_by_group(latents, groups), torch.tensor([0, 0, 1.0, 0]), atol=0.03)


def test_a_group_for_each_particle_explains_nothing():
    latents = torch.randn(50, 2)
    assert explained_by_group(latents, torch.arange(50)).tolist() == [0, 0]
    assert explained_by_group(latents, torch.zeros(50)).tolist() == [0, 0]


def test_numbers_that_are_all_the_same_explain_nothing():
    """Of particles in the order of their states, as a table of two that were joined has them."""
    states = torch.arange(300).ge(160).float()[:, None] + 1e-3 * torch.randn(300, 1)
    assert float(explained_by_number(states, torch.full((300,), 15000.0))) == 0
    mostly = torch.where(torch.arange(300) % 10 == 0, 1.0, 0.0)
    assert float(explained_by_number(states, mostly)) < 0.05
    assert float(explained_by_number(states, states[:, 0].exp())) > 0.99
