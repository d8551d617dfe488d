"""Sections are of the right planes, at one contrast for all maps, and drawn whatever the box."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.pictures import pixels

from cryobridge.bridge.worker.report.figures.canvas import MAX_BYTES, shown_size
from cryobridge.bridge.worker.report.figures.slices import (
    central_sections,
    contrast_limits,
    orthoslices,
    scale_bar_A,
    spread_slices,
)
from cryobridge.core.volume.masks import soft_sphere

pytestmark = pytest.mark.slow


def test_sections_go_through_the_centre_and_keep_the_axes():
    z, y, x = torch.meshgrid(*[torch.arange(9.0)] * 3, indexing="ij")
    volume = 100 * z + 10 * y + x
    across_z, across_y, across_x = central_sections(volume)
    assert (across_z[7, 2], across_y[7, 2], across_x[7, 2]) == (472.0, 742.0, 724.0)


def test_contrast_is_that_of_all_sections_together():
    dim, bright = np.linspace(0, 1, 1000).reshape(20, 50), np.linspace(0, 10, 1000).reshape(20, 50)
    low, high = contrast_limits([dim, bright])
    together = np.concatenate([dim.ravel(), bright.ravel()])
    assert (low, high) == pytest.approx(tuple(np.percentile(together, (0.5, 99.8))))
    assert high > 9
    assert contrast_limits([bright, dim]) == (low, high)


@pytest.mark.parametrize(
    "section", [np.zeros((4, 4)), np.full((4, 4), 3e9), np.full((4, 4), np.nan), np.array([[np.inf, 1.0]])]
)
def test_contrast_never_collapses(section):
    low, high = contrast_limits([section])
    assert math.isfinite(low)
    assert math.isfinite(high)
    assert low < high


def test_outliers_do_not_take_the_contrast():
    section = np.random.default_rng(0).normal(size=(100, 100))
    section[0, 0] = 1e6
    assert contrast_limits([section])[1] < 4


@pytest.mark.parametrize(
    ("side_A", "bar_A"), [(96.0, 20.0), (300.0, 50.0), (334.0, 100.0), (8.0, 2.0), (1000.0, 200.0)]
)
def test_the_scale_bar_is_a_round_length(side_A, bar_A):
    assert scale_bar_A(side_A) == bar_A


def test_half_the_density_looks_half_as_bright_beside_the_other_map():
    ball = soft_sphere(32, 10.0, 1.0)
    picture = pixels(orthoslices({"whole": ball, "half": 0.5 * ball}, 2.0))
    height = picture.shape[0]
    upper, lower = picture[: height // 2, :, 0], picture[height // 2 :, :, 0]

    def middle_grey(part: np.ndarray) -> float:
        return float(((part > 118) & (part < 138)).mean())

    assert middle_grey(lower) > 0.1, "the weaker ball is middle grey"
    assert middle_grey(upper) < 0.02, "the stronger one is not"
    assert (pixels(orthoslices({"half": 0.5 * ball}, 2.0))[:, :, 0] == 255).mean() > 0.1, "alone it would be white"


def test_the_scale_bar_is_as_long_as_it_says():
    picture = pixels(orthoslices({"empty": torch.zeros(100, 100, 100)}, 1.0))
    panel = np.flatnonzero((picture[:, :, 0] < 250).mean(axis=1) > 0.8)
    rows = picture[panel.min() + 5 : panel.max() - 5]
    dark = (rows[5, :, 0] < 250).astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], dark, [0]])))
    left, right = edges[0], edges[1]
    white = (rows[:, left:right, :].min(axis=2) == 255).sum(axis=1)
    assert white.max() / (right - left) == pytest.approx(0.2, abs=0.02), "20 A of 100 A"


def test_hostile_names_are_labels_and_nothing_else():
    volume = torch.rand(8, 8, 8, generator=torch.Generator().manual_seed(0))
    names = ["$\\frac{", "_hidden.mrc", "x" * 300, "a\nb\x00\u202e.mrc"]
    assert pixels(orthoslices(dict.fromkeys(names, volume), 1.0)).shape[1] == 1080


def test_boxes_of_any_size_are_drawn_and_stay_small():
    plane = torch.randn(1200, 1200, generator=torch.Generator().manual_seed(1))
    huge = plane.expand(1200, 1200, 1200)  # takes the memory of a plane
    for maps in ({"tiny": torch.randn(8, 8, 8)}, {"huge": huge, "huge too": huge, "small": torch.randn(64, 64, 64)}):
        picture = orthoslices(maps, 1.3)
        assert len(picture) <= MAX_BYTES
        assert pixels(picture).std() > 10


def test_large_sections_are_averaged_not_skipped_through():
    section = np.indices((1030, 1030)).sum(axis=0) % 2.0
    small = shown_size(section)
    assert small.shape == (343, 343)
    assert np.abs(small - 0.5).max() < 0.07
    assert shown_size(section[:512, :512]).shape == (512, 512)


def test_maps_that_are_not_finite_are_drawn_with_gaps():
    volume = torch.rand(16, 16, 16)
    volume[8] = math.nan
    assert pixels(orthoslices({"half": volume, "nothing": torch.full((16, 16, 16), math.nan)}, 2.0)).shape[2] == 3


def test_the_spread_is_bright_where_it_is_large():
    spread = soft_sphere(24, 4.0, 1.0)
    picture = pixels(spread_slices(torch.rand(24, 24, 24), spread, 2.0)).astype(int)
    lower = picture[picture.shape[0] // 2 :]
    magma_top = (np.abs(lower - np.array([252, 253, 191])).max(axis=2) < 12).mean()
    magma_bottom = (np.abs(lower - np.array([0, 0, 4])).max(axis=2) < 12).mean()
    inside = math.pi * 4.5**2 / 24**2
    assert magma_top / (magma_top + magma_bottom) == pytest.approx(inside, rel=0.4)
