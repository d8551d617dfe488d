"""Strips of volumes: one scale for all, what differs in its colour, and rows of six."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.pictures import pixels, share_of

from cryobridge.bridge.worker.report import figures

RED, BLUE = "#67001F", "#053061"
"""The ends of the scale of differences."""


def half_of(value: float) -> np.ndarray:
    """A section whose left half has a value, and whose right half is 0."""
    section = np.zeros((16, 16))
    section[:, :8] = value
    return section


def test_what_is_more_is_red_and_what_is_less_is_blue() -> None:
    more, less = (pixels(figures.difference_strip({"a": half_of(value)}, 3.0)) for value in (1.0, -1.0))
    assert share_of(more, RED) > 0.1
    assert share_of(more, BLUE) == 0
    assert share_of(less, BLUE) == pytest.approx(share_of(more, RED), rel=0.1)


def test_all_differences_are_on_one_scale() -> None:
    both = pixels(figures.difference_strip({"a": half_of(1.0), "b": half_of(0.01)}, 3.0))
    alone = pixels(figures.difference_strip({"b": half_of(0.01)}, 3.0))
    middle = both.shape[1] // 2
    assert share_of(both[:, :middle], RED) > 0.1
    assert share_of(both[:, middle:], RED) == 0, "a hundredth of another difference is as good as white"
    assert share_of(alone, RED) > 0.1


def test_all_volumes_are_on_one_grey_scale() -> None:
    both = pixels(figures.volume_strip({"a": half_of(1.0), "b": half_of(0.5)}, 3.0))
    middle = both.shape[1] // 2
    white = [np.all(part[100:300] == 255, axis=2).mean() for part in (both[:, :middle], both[:, middle:])]
    grey = [share_of(part, "#808080") for part in (both[:, :middle], both[:, middle:])]
    assert white[0] > white[1]
    assert grey[1] > 0.1
    assert grey[0] < 1e-3, "but for the edges of letters"


def test_more_than_six_go_into_rows() -> None:
    one, two = (
        pixels(figures.volume_strip({f"v{number}": half_of(1.0) for number in range(count)}, 3.0)) for count in (6, 7)
    )
    assert two.shape[1] == one.shape[1]
    assert two.shape[0] > 1.6 * one.shape[0]


@pytest.mark.parametrize("section", [np.zeros((8, 8)), np.full((8, 8), math.nan), torch.full((8, 8), 3.0)])
def test_odd_sections_are_drawn(section: np.ndarray | torch.Tensor) -> None:
    assert pixels(figures.volume_strip({"$odd": section}, 3.0)).std() > 1
    assert pixels(figures.difference_strip({"$odd": section}, 3.0)).std() > 1
