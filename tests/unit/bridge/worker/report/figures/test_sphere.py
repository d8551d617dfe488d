"""The sphere shows every direction where it is, and its opposite too."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.pictures import pixels, share_of

from cryobridge.bridge.worker.report.figures.sphere import on_sphere, resolution_sphere, sphere_grid, view_density
from cryobridge.core.fourier.directions import fibonacci_directions

pytestmark = pytest.mark.slow

GREY = "#9AA0A6"


def cell(latitude_deg: float, longitude_deg: float) -> tuple[int, int]:
    longitudes, latitudes = sphere_grid()
    row = int(np.searchsorted(latitudes, math.radians(latitude_deg)) - 1)
    return row, int(np.searchsorted(longitudes, math.radians(longitude_deg)) - 1)


def test_axes_lie_where_the_picture_says():
    found = on_sphere(torch.eye(3), torch.tensor([1.0, 2.0, 3.0]))  # z, y, x
    assert [found[cell(latitude, 10)] for latitude in (88, -88)] == [1.0, 1.0]
    assert [found[cell(1, longitude)] for longitude in (89, -89)] == [2.0, 2.0]
    assert [found[cell(1, longitude)] for longitude in (1, 179, -179)] == [3.0, 3.0, 3.0]


def test_a_direction_and_its_opposite_are_one():
    directions, values = fibonacci_directions(200), torch.rand(200)
    found = on_sphere(directions, values)
    np.testing.assert_array_equal(on_sphere(-directions, values), found)
    half = found.shape[1] // 2
    np.testing.assert_array_equal(np.roll(found, half, axis=1)[::-1], found)


def test_lengths_do_not_matter():
    directions, values = fibonacci_directions(50), torch.rand(50)
    np.testing.assert_array_equal(on_sphere(7.0 * directions, values), on_sphere(directions, values))


@pytest.mark.slow
def test_what_is_not_measured_is_grey_at_both_poles():
    directions = fibonacci_directions(2000)
    cap = directions[:, 0] > math.cos(math.radians(40))
    resolutions = torch.where(cap, math.inf, 3.0 + directions[:, 1].abs())
    picture = pixels(resolution_sphere(directions, resolutions))
    globe = picture[: int(0.8 * len(picture))]
    middle = len(globe) // 2
    top, bottom = share_of(globe[:middle], GREY), share_of(globe[middle:], GREY)
    assert top == pytest.approx(bottom, rel=0.15)
    whole = share_of(pixels(resolution_sphere(directions, torch.full((2000,), math.inf))), GREY)
    assert share_of(picture, GREY) / whole == pytest.approx(1 - math.cos(math.radians(40)), rel=0.15), "areas are kept"


def test_the_best_direction_is_brightest():
    directions = fibonacci_directions(500)
    resolutions = 3.0 + 3.0 * directions[:, 0]  # worst along z
    picture = pixels(resolution_sphere(directions, resolutions)).astype(float).mean(axis=2)
    height, width = picture.shape
    equator, pole = picture[int(0.42 * height), int(0.35 * width)], picture[int(0.14 * height), int(0.55 * width)]
    assert equator > pole + 40


@pytest.mark.parametrize(
    "resolutions", [[3.0, 3.0, 3.0], [math.nan, 3.0, 4.0], [math.inf] * 3, [3.0, 3.1, 1e4], [0.0, 2.0, 2.0]]
)
def test_odd_resolutions_are_drawn(resolutions):
    assert pixels(resolution_sphere(torch.eye(3), torch.tensor(resolutions))).std() > 1


@pytest.mark.slow
def test_views_are_shown_against_even_ones():
    directions = fibonacci_directions(800)
    density = (directions[:, 0] > 0.5).double()  # half of the directions hold all views
    picture = pixels(view_density(directions, density))
    whole = share_of(pixels(resolution_sphere(directions, torch.full((800,), math.inf))), GREY)
    assert share_of(picture, GREY) / whole == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(pixels(view_density(directions, 1e6 * density)), picture)


@pytest.mark.parametrize("density", [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [1e-9, 1.0, 1e9], [math.nan, 1.0, 2.0]])
def test_odd_densities_are_drawn(density):
    assert pixels(view_density(torch.eye(3), torch.tensor(density))).std() > 1
