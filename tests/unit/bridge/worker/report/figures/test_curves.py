"""Curves cross their thresholds where core says they do, and every odd curve is drawn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from support.pictures import pixels, share_of

from cryobridge.bridge.worker.report.figures.canvas import COLOURS, MAX_BYTES, resolution_ticks
from cryobridge.bridge.worker.report.figures.curves import crossing_shell, directional_curves, fsc_curves, guinier
from cryobridge.core.fourier.correlation import resolution, resolution_shell

pytestmark = pytest.mark.slow


def falling(shells: int, half_at: float) -> torch.Tensor:
    return 1.0 / (1.0 + (torch.arange(shells, dtype=torch.float64) / half_at) ** 6)


@pytest.mark.parametrize("threshold", [0.143, 0.5])
@pytest.mark.parametrize("half_at", [0.2, 3.0, 11.0])
def test_the_crossing_is_the_one_that_is_quoted(threshold, half_at):
    curve = falling(25, half_at)
    assert crossing_shell(curve.numpy(), threshold) == resolution_shell(curve, threshold)


def test_a_curve_that_stays_above_has_no_crossing():
    assert crossing_shell(np.ones(9), 0.143) is None
    assert resolution(torch.ones(9), 1.0) == 2.0


def test_no_number_is_no_agreement():
    assert crossing_shell(np.array([1.0, 0.9, math.nan, 0.9]), 0.143) == 1
    assert crossing_shell(np.array([1.0, math.nan]), 0.143) == 0


def test_resolution_ticks_lie_where_their_numbers_say():
    places, names = resolution_ticks(0.25)
    assert places == pytest.approx([1 / float(name) for name in names])
    assert names[0] == "4"
    assert max(places) <= 0.25 * 1.001
    assert all(one - two > 0.08 * 0.25 for one, two in itertools.pairwise(places))
    squared, names = resolution_ticks(0.0625, squared=True)
    assert squared == pytest.approx([float(name) ** -2 for name in names])


def test_each_curve_has_a_colour_and_marks_its_crossings():
    picture = pixels(fsc_curves({"masked": falling(33, 12.0), "unmasked": falling(33, 8.0)}, 1.5, 64))
    assert share_of(picture, COLOURS[0]) > 1e-3
    assert share_of(picture, COLOURS[1]) > 1e-3
    assert share_of(picture, COLOURS[2]) == 0


def test_every_threshold_gets_its_mark():
    step = torch.tensor([1.0] * 16 + [-1.0] * 17)  # marks stand beside the fall, where no curve is
    one, two = (pixels(fsc_curves({"masked": step}, 1.5, 64, thresholds)) for thresholds in ((0.1,), (0.1, 0.4)))
    assert share_of(two, COLOURS[0]) > share_of(one, COLOURS[0]) + 3e-5


@pytest.mark.parametrize(
    "curves",
    [
        {},
        {"one shell": torch.tensor([1.0, 0.4])},
        {"only DC": torch.tensor([1.0])},
        {"nothing": torch.full((13,), math.nan)},
        {"negative": -torch.ones(13)},
        {"infinite": torch.full((13,), math.inf)},
        {"$x_{": torch.ones(13), "_y": torch.zeros(13), "long": torch.ones(401)},
    ],
)
def test_odd_curves_are_drawn(curves):
    assert pixels(fsc_curves(curves, 1.0, 24)).std() > 1


def test_many_directions_stay_a_small_picture():
    noise = torch.randn(2000, 129, generator=torch.Generator().manual_seed(3)) * 0.1
    picture = directional_curves(falling(129, 60.0) + noise, 1.0, 256)
    assert len(picture) <= MAX_BYTES
    seen = pixels(picture)
    assert seen.shape[1] == 1080, "at full sharpness"
    assert min(share_of(seen, colour) for colour in (COLOURS[0], COLOURS[1], COLOURS[2])) > 3e-4


@pytest.mark.parametrize(
    "curves", [torch.ones(1, 9), torch.ones(3, 2), torch.ones(2, 1), torch.full((4, 9), math.nan), torch.zeros(4, 9)]
)
def test_odd_directions_are_drawn(curves):
    assert pixels(directional_curves(curves, 2.0, 16)).std() > 1


def test_the_fitted_line_lies_on_the_points_it_fits():
    d2 = torch.linspace(0.001, 0.1, 60)
    straight = 5.0 - 20.0 * d2
    without = pixels(guinier({"average": straight}, d2))
    with_line = pixels(guinier({"average": straight}, d2, (5.0, -20.0), (10.0, 1 / math.sqrt(0.1))))
    away = pixels(guinier({"average": straight}, d2, (9.0, -20.0), (10.0, 1 / math.sqrt(0.1))))
    assert share_of(with_line, COLOURS[0], 40) < 0.9 * share_of(without, COLOURS[0], 40), "the line covers the points"
    assert share_of(away, COLOURS[0], 40) > share_of(with_line, COLOURS[0], 40)


def test_shells_without_amplitude_are_left_out():
    d2 = torch.linspace(0.001, 0.1, 20)
    curve = torch.where(d2 > 0.05, -math.inf, 1.0 - d2)
    assert pixels(guinier({"average": curve, "none": torch.full((20,), math.nan)}, d2)).std() > 1
