"""New latents are seen beside those of the training, where they lie and as many as they are."""

from __future__ import annotations

import numpy as np
import pytest
from support.pictures import pixels, share_of

from cryobridge.bridge.worker.report import figures
from cryobridge.bridge.worker.report.figures.canvas import AFTER, BEFORE, MAX_BYTES

POINTS = np.random.default_rng(2).normal(size=(500, 2))


def columns_of(picture: np.ndarray, colour: str) -> np.ndarray:
    """The columns of a picture that have a colour."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    found: np.ndarray = np.flatnonzero((np.abs(picture[..., :3].astype(int) - wanted).max(axis=2) < 6).any(axis=0))
    return found


def test_new_latents_lie_where_they_are() -> None:
    left, right = (
        pixels(figures.densities_beside(np.linspace(0, 1, 90), np.full(30, value), "z1")) for value in (0.0, 1.0)
    )
    legend = left.shape[0] // 3
    assert columns_of(left[legend:], AFTER).max() < columns_of(right[legend:], AFTER).min()


def test_a_density_does_not_depend_on_how_many_there_are() -> None:
    values = np.repeat(np.linspace(0, 1, 200), 5)
    few, many = (pixels(figures.densities_beside(values, values[::step], "z1")) for step in (5, 1))
    assert share_of(few, AFTER) == pytest.approx(share_of(many, AFTER), rel=0.1)


def test_points_are_drawn_over_the_density_of_the_training() -> None:
    picture = pixels(figures.latents_beside(POINTS, POINTS[:100] + 1.0, ("z1", "z2")))
    fewer = pixels(figures.latents_beside(POINTS, POINTS[:1], ("z1", "z2")))
    blend = np.abs(picture[..., :3].astype(int) - picture[..., :3].mean(axis=2, keepdims=True)).max(axis=2) > 30
    blend_fewer = np.abs(fewer[..., :3].astype(int) - fewer[..., :3].mean(axis=2, keepdims=True)).max(axis=2) > 30
    assert blend.mean() > 3 * blend_fewer.mean() > 0


def test_very_many_points_make_no_larger_picture() -> None:
    many = np.random.default_rng(3).normal(size=(50_000, 2))
    assert len(figures.latents_beside(many, many, ("z1", "z2"))) < MAX_BYTES


def test_values_that_are_no_numbers_are_left_out() -> None:
    values = np.array([0.0, 1.0, np.nan, np.inf])
    assert figures.value_histogram(values, "loss") == figures.value_histogram(values[:2], "loss")
    assert share_of(pixels(figures.value_histogram(values, "loss")), BEFORE) > 0


def test_one_value_and_none_are_drawn() -> None:
    assert figures.densities_beside(np.ones(5), np.ones(2), "z")
    assert figures.value_histogram(np.array([np.nan]), "loss")
    assert figures.latents_beside(POINTS[:1], POINTS[:0], ("z1", "z2"))
