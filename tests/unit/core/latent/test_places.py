"""Lines and grids of latents, and how near to particles they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryobridge.core.latent import Ends, latent_grid, latent_line, nearness, principal_components


def cloud(count: int = 500) -> torch.Tensor:
    """Latents that spread most along (1, 1, 0), then along z3."""
    drawn = torch.randn(count, 3, generator=torch.Generator().manual_seed(5)) * torch.tensor([3.0, 1.0, 0.1])
    turned = torch.stack([drawn[:, 0] + drawn[:, 2], drawn[:, 0] - drawn[:, 2], 2**0.5 * drawn[:, 1]], dim=1) / 2**0.5
    return turned + torch.tensor([1.0, 2.0, 3.0])


def test_a_line_holds_both_ends() -> None:
    found = latent_line(torch.tensor([0.0, 1.0]), torch.tensor([1.0, -1.0]), 3)
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0], [0.5, 0.0], [1.0, -1.0]]))


def test_components_are_the_directions_of_spread_and_always_of_one_sign() -> None:
    rows = principal_components(cloud())
    torch.testing.assert_close(rows[0].abs(), torch.tensor([0.5**0.5, 0.5**0.5, 0.0]).double(), atol=0.05, rtol=0)
    torch.testing.assert_close(rows @ rows.T, torch.eye(3).double())
    torch.testing.assert_close(principal_components(2 * cloud().mean(0) - cloud()), rows)
    assert bool((rows.gather(1, rows.abs().argmax(1, keepdim=True)) > 0).all())


def test_a_component_goes_through_the_mean_between_percentiles() -> None:
    latents = cloud()
    found = latent_grid(latents, [Ends(0, 5, 95, True, 3)], components=True)
    direction = principal_components(latents)[0]
    scores = ((found.double() - latents.double().mean(0)) @ direction).numpy()
    wanted = np.percentile(((latents.double() - latents.double().mean(0)) @ direction).numpy(), [5, 95])
    np.testing.assert_allclose(scores[[0, 2]], wanted, atol=1e-5)
    rest = found.double() - latents.double().mean(0) - torch.from_numpy(scores)[:, None] * direction
    torch.testing.assert_close(rest, torch.zeros(3, 3).double(), atol=1e-5, rtol=0)


def test_a_grid_of_numbers_has_every_pair_the_last_fastest() -> None:
    latents = cloud()
    found = latent_grid(latents, [Ends(2, 0.0, 1.0, False, 2), Ends(0, -1.0, 1.0, False, 3)], components=False)
    mean = float(latents[:, 1].mean())
    wanted = [[x, mean, z] for z in (0.0, 1.0) for x in (-1.0, 0.0, 1.0)]
    torch.testing.assert_close(found, torch.tensor(wanted), atol=1e-5, rtol=0)


def test_an_axis_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no axis 4 of latents of 3 numbers"):
        latent_grid(cloud(), [Ends(3, 0, 1, False, 2)], components=False)


def test_a_latent_among_particles_is_on_the_data_and_one_far_away_is_not() -> None:
    particles = cloud().numpy()
    near = nearness(np.stack([particles[7], particles.mean(0) + 50]), particles)
    assert near.nearest[0] == 7
    assert near.distance[0] == 0
    assert near.off_data.tolist() == [False, True]
    assert near.within_edge[0] > 1
    assert near.within_edge[1] == 0
    brute = np.linalg.norm(particles[:, None] - particles, axis=2)
    np.fill_diagonal(brute, np.inf)
    assert near.usual == pytest.approx(np.median(brute.min(axis=1)), rel=1e-5)


def test_the_images_of_a_tilt_series_are_as_near_as_their_particles() -> None:
    particles = cloud().numpy()
    latents = np.stack([particles.mean(0), particles[7] + 0.001, particles.mean(0) + 50])
    wanted, found = nearness(latents, particles), nearness(latents, np.repeat(particles, 3, axis=0))
    assert (found.usual, found.edge) == (wanted.usual, wanted.edge)
    assert found.off_data.tolist() == [False, False, True]
    assert found.within_edge.tolist() == (3 * wanted.within_edge).tolist()
    assert (found.nearest // 3).tolist() == wanted.nearest.tolist()


def test_where_all_particles_lie_at_one_place_any_other_is_off_the_data() -> None:
    particles = np.ones((20, 2), np.float32)
    found = nearness(np.array([[1.0, 1.0], [1.0, 1.5]], np.float32), particles)
    assert found.usual == found.edge == 0
    assert found.off_data.tolist() == [False, True]


def test_percentiles_of_very_many_particles_are_of_all_of_them() -> None:
    """Latents 0 in the first million rows and 1 in the others."""
    latents = torch.zeros(1_900_000, 1)
    latents[1_000_000:] = 1
    found = latent_grid(latents, [Ends(0, 40, 60, True, 2)], components=False)
    assert found.flatten().tolist() == [0.0, 1.0]
