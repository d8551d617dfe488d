"""Sampling densities of view sets whose answer is known, in RELION's angle convention."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cryobridge.core.directional import sampling
from cryobridge.core.fourier import directions
from cryobridge.core.fourier import transforms as fourier


def relion_matrix(rot: float, tilt: float, psi: float) -> np.ndarray:
    """RELION's passive z-y-z rotation matrix, as a product of three turns."""

    def about_z(angle: float) -> np.ndarray:
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])

    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    about_y = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    return about_z(psi) @ about_y @ about_z(rot)


def test_view_directions_are_the_third_row_of_relions_matrix() -> None:
    angles = np.random.default_rng(0).uniform(-180, 180, (20, 3))
    expected = np.stack([relion_matrix(*row)[2][::-1] for row in angles])
    np.testing.assert_allclose(sampling.view_directions(torch.from_numpy(angles)).numpy(), expected, atol=1e-12)


def even_angles(count: int) -> torch.Tensor:
    """Angles of views spread evenly over the sphere; psi is arbitrary."""
    z, y, x = directions.fibonacci_directions(count).double().unbind(1)
    return torch.stack([torch.rad2deg(torch.atan2(y, x)), torch.rad2deg(z.arccos()), torch.full_like(z, 33.0)], dim=1)


def test_even_views_sample_every_direction_once() -> None:
    density = sampling.direction_density(
        sampling.view_directions(even_angles(5000)).float(), directions.fibonacci_directions(300)
    )
    assert density.mean() == pytest.approx(1.0, abs=0.01)
    assert density.std() < 0.1
    volume = sampling.sampling_volume(even_angles(5000), 16, relative_to="even")
    assert volume.shape == (16, 16, 9)
    assert (volume - 1.0).abs().mean() < 0.1


def test_views_along_z_leave_all_but_the_equator_empty() -> None:
    angles = torch.tensor([[10.0, 0.0, 5.0], [0.0, 0.0, 90.0]])
    volume = sampling.sampling_volume(angles, 24)
    kz = fourier.frequency_axes(24)[0].expand(24, 24, 13)
    latitude = (kz.abs() / fourier.radius(24).clamp(min=1e-6)).arcsin()
    spacing = math.radians(90 / 64)
    assert bool((volume[latitude > math.asin(sampling.DEFAULT_HALF_WIDTH) + spacing] == 0).sum() > 1000)
    assert float(volume[latitude > math.asin(sampling.DEFAULT_HALF_WIDTH) + spacing].sum()) == 0.0
    assert float(volume[0].min()) == 1.0


def test_a_view_along_x_does_not_measure_the_x_axis() -> None:
    along_x = torch.tensor([[0.0, 90.0, 0.0]])
    volume = sampling.sampling_volume(along_x, 16)
    assert volume[0, 0, 5] == 0.0
    assert volume[5, 0, 0] == 1.0
    assert volume[0, 5, 0] == 1.0


def test_symmetry_is_the_same_as_giving_every_symmetric_view() -> None:
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    group = torch.stack([torch.linalg.matrix_power(quarter, power) for power in range(4)])
    angles = torch.tensor([[20.0, 70.0, 0.0], [35.0, 50.0, 10.0]])
    spelled_out = torch.cat([angles + torch.tensor([90.0 * turn, 0.0, 0.0]) for turn in range(4)])
    torch.testing.assert_close(
        sampling.sampling_volume(angles, 12, symmetry=group), sampling.sampling_volume(spelled_out, 12)
    )


def test_a_draw_of_many_views_is_seeded_and_close_to_all_of_them() -> None:
    angles = even_angles(3000)
    every = sampling.sampling_volume(angles, 12, relative_to="even")
    some = [sampling.sampling_volume(angles, 12, most_views=1500, seed=s, relative_to="even") for s in (1, 1, 2)]
    assert torch.equal(some[0], some[1])
    assert not torch.equal(some[0], some[2])
    assert (some[0] - every).abs().mean() < 0.15


def test_bad_shapes_and_no_views_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4, 2\)"):
        sampling.view_directions(torch.zeros(4, 2))
    with pytest.raises(ValueError, match="no views"):
        sampling.direction_density(torch.zeros(0, 3), torch.ones(1, 3))
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        sampling.symmetric_views(torch.ones(1, 3), torch.zeros(2, 3))
