"""Borders of masks and places are drawn where they are."""

from __future__ import annotations

import numpy as np
from support.pictures import pixels

from cryobridge.bridge.worker.report import figures

TITLES = ("xy", "xz", "yz")
GREY = [np.random.default_rng(1).standard_normal(shape) for shape in ((40, 60), (20, 60), (20, 40))]


def coloured(picture: bytes) -> np.ndarray:
    """Which pixels are not grey."""
    shown = pixels(picture).astype(int)
    different: np.ndarray = (shown.max(axis=2) - shown.min(axis=2)) > 50
    return different


def test_a_mask_is_outlined_only_where_it_ends() -> None:
    masks = [np.zeros(section.shape) for section in GREY]
    assert not coloured(figures.outlined_sections(GREY, masks, TITLES, 10.0)).any()
    masks[0][10:30, 40:55] = 1
    seen = coloured(figures.outlined_sections(GREY, masks, TITLES, 10.0))
    columns = np.flatnonzero(seen.any(axis=0)) / seen.shape[1]
    # In the right part of the first of three panels.
    assert columns.min() > 0.15
    assert columns.max() < 0.36


def test_places_are_marked() -> None:
    none = [np.empty((0, 2)) for _ in GREY]
    assert not coloured(figures.marked_sections(GREY, none, TITLES, 10.0)).any()
    places = [np.array([[20, 5]]), np.empty((0, 2)), np.array([[2, 2], [15, 35]])]
    seen = np.flatnonzero(coloured(figures.marked_sections(GREY, places, TITLES, 10.0)).any(axis=0))
    assert seen.size
