"""Figures of latents show what they are given, and are drawn whatever it is."""

from __future__ import annotations

import numpy as np
import pytest
from support.pictures import pixels, share_of

from cryobridge.bridge.worker.report import figures
from cryobridge.bridge.worker.report.figures.canvas import AFTER, COLOURS, MAX_BYTES

NAMES = ("PC1", "PC2")
POINTS = np.random.default_rng(1).normal(size=(400, 2))


def test_centres_and_a_path_are_marked():
    without = figures.latent_map(POINTS, NAMES)
    with_path = figures.latent_map(POINTS, NAMES, POINTS[:4], POINTS[4:9])
    assert share_of(pixels(without), AFTER) == 0
    assert share_of(pixels(with_path), AFTER) > 1e-4


def test_clusters_have_colours_of_their_own():
    one = pixels(figures.latents_by_cluster(POINTS, np.zeros(400), NAMES))
    many = pixels(figures.latents_by_cluster(POINTS, np.arange(400) % 8, NAMES))
    assert len(np.unique(many.reshape(-1, 3), axis=0)) > len(np.unique(one.reshape(-1, 3), axis=0))


def test_values_that_are_not_known_are_left_out():
    values = np.where(POINTS[:, 0] > 0, np.nan, 1.0)
    assert len(figures.latents_by_value(POINTS, {"defocus": values, "x": POINTS[:, 1]}, NAMES)) < MAX_BYTES
    figures.latents_by_value(POINTS, {"nothing": np.full(400, np.nan)}, NAMES)


def test_bars_are_as_tall_as_their_values():
    low, high = (
        share_of(pixels(figures.bars(np.array([1.0, v]), "state", "n", {"all": 1.0})), COLOURS[0]) for v in (0, 1)
    )
    assert high == pytest.approx(2 * low, rel=0.1)


def test_the_others_are_drawn():
    assert figures.latent_histogram(POINTS[:, 0], "z", POINTS[:3, 0])
    assert figures.variance_explained({"latents": np.array([0.5, 0.5]), "volumes": np.array([1.0])})
    assert figures.over_epochs([1, 2], {"loss": {"loss": np.array([1.0, np.nan])}, "KL": {"KL": np.array([1.0, 2.0])}})
    assert figures.neighbour_curves({"0 and 1": np.linspace(1, 0, 8)}, np.linspace(0.01, 0.1, 8))
