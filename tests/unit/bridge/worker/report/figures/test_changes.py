"""Changes and losses: what is large is drawn large, and where it belongs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.pictures import pixels, share_of

from cryobridge.bridge.worker.report.figures.canvas import AFTER, COLOURS
from cryobridge.bridge.worker.report.figures.changes import change_map
from cryobridge.bridge.worker.report.figures.training import loss_curve, moving_average

pytestmark = pytest.mark.slow

YELLOW, PURPLE = "#FDE725", "#440154"


def test_change_along_the_axis_lies_at_the_bottom():
    change = torch.zeros(20, 9)
    change[:, 0] = 1.0  # within 10 degrees of the axis
    picture = pixels(change_map(change, 2.0, 48))[:, : int(0.8 * 1080)]
    rows = np.flatnonzero((np.abs(picture.astype(int) - [253, 231, 37]).max(axis=2) < 6).mean(axis=1) > 0.5)
    others = np.flatnonzero((np.abs(picture.astype(int) - [68, 1, 84]).max(axis=2) < 6).mean(axis=1) > 0.5)
    assert rows.min() > others.max()
    assert len(rows) / (len(rows) + len(others)) == pytest.approx(1 / 9, abs=0.02)


def test_both_signs_get_a_scale_about_zero():
    change = torch.linspace(-1, 1, 20).repeat(9, 1).T
    assert share_of(pixels(change_map(change, 2.0, 48)), YELLOW) == 0
    assert share_of(pixels(change_map(change.abs(), 2.0, 48)), YELLOW) > 0


def test_power_where_there_was_none_does_not_take_the_colours():
    change = torch.full((20, 9), 0.5)
    change[10:, 0] = 1e6
    picture = pixels(change_map(change, 2.0, 48))
    assert share_of(picture, "#21918C") > 0.3, "one half is the middle of the scale"


def test_bins_without_a_value_are_grey():
    change = torch.rand(20, 9)
    change[:10] = math.nan
    assert share_of(pixels(change_map(change, 2.0, 48)), "#C9CDD2") > 0.2


@pytest.mark.parametrize("change", [torch.zeros(1, 1), torch.full((5, 3), math.nan), torch.full((2, 2), 1e9)])
def test_odd_changes_are_drawn(change):
    assert pixels(change_map(change, 1.0, 16, axis="$worst")).std() > 1


def test_the_moving_average_is_a_mean_about_each_step():
    values = np.random.default_rng(0).normal(size=200)
    smooth = moving_average(values)  # 4 steps to either side
    assert smooth[100] == pytest.approx(values[96:105].mean())
    assert smooth[0] == pytest.approx(values[:5].mean())
    assert smooth[-1] == pytest.approx(values[-5:].mean())
    np.testing.assert_allclose(moving_average(np.full(100, 3.0)), 3.0)


def test_losses_that_are_no_numbers_leave_gaps():
    values = np.concatenate([np.full(50, math.nan), np.ones(50)])
    smooth = moving_average(values)
    assert np.isnan(smooth[:48]).all()
    np.testing.assert_allclose(smooth[60:], 1.0)


def test_training_and_held_out_losses_are_both_seen():
    losses = [1.0 + math.exp(-step / 50) for step in range(300)]
    alone, both = pixels(loss_curve(losses)), pixels(loss_curve(losses, [1.5, 1.3, 1.2], 100))
    assert share_of(alone, COLOURS[0]) > 1e-3
    assert share_of(alone, AFTER) == 0
    assert share_of(both, AFTER) > 1e-3


@pytest.mark.parametrize(
    ("losses", "held_out"),
    [([], []), ([1.0], []), ([math.nan, math.inf], [math.nan]), ([-1.0, -2.0, -3.0], [0.5]), ([1e9] + [1.0] * 400, [])],
)
def test_odd_trainings_are_drawn(losses, held_out):
    assert pixels(loss_curve(losses, held_out, 2)).std() > 1
