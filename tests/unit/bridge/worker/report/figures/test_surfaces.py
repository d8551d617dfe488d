"""Pictures of volumes show the surface that faces the viewer, and a strip has all of them on one scale."""

from __future__ import annotations

import numpy as np
from support.pictures import pixels

from cryobridge.bridge.worker.report import figures

BOX = 16


def block() -> np.ndarray:
    volume = np.zeros((BOX,) * 3)
    volume[3:8, 5:9, 2:12] = 1.0
    return volume


def test_a_surface_covers_what_lies_above_the_level_along_each_axis():
    sizes = {axis: np.isfinite(figures.surface_picture(block(), 0.5, axis)).sum() for axis in ("z", "y", "x")}
    assert sizes == {"z": 4 * 10, "y": 5 * 10, "x": 5 * 4}


def test_nothing_above_the_level_is_no_surface():
    assert np.isnan(figures.surface_picture(block(), 2.0)).all()


def test_what_is_nearer_is_brighter():
    volume = np.zeros((BOX,) * 3)
    volume[:4, :, :8] = 1.0
    volume[:12, :, 8:] = 1.0
    picture = figures.surface_picture(volume, 0.5)
    assert picture[8, 12] > picture[8, 3]


def test_the_level_shows_the_share_that_was_asked_for():
    volume = np.random.default_rng(0).normal(size=(BOX,) * 3)
    assert abs((volume >= figures.surface_level(volume, 0.1)).mean() - 0.1) < 1e-3


def test_a_section_goes_through_the_centre():
    volume = np.arange(BOX**3, dtype=float).reshape((BOX,) * 3)
    assert (figures.section_picture(volume, "y") == volume[:, BOX // 2]).all()


def test_a_row_has_one_scale_and_a_strip_breaks_its_rows():
    weak, strong = 0.2 * np.eye(BOX), np.eye(BOX)
    together = pixels(figures.picture_strip({"a": [weak, strong]}, ["0", "1"], 2.0))
    alone = pixels(figures.picture_strip({"a": [weak, weak]}, ["0", "1"], 2.0))
    assert (together != alone).any()
    broken = pixels(figures.picture_strip({"a": [weak] * 5}, list("abcde"), 2.0, columns=2))
    assert broken.shape[0] > broken.shape[1] * 0.9
    differences = figures.picture_strip({"a": [weak - strong] * 2}, ["0", "1"], 2.0, signed=["a"])
    assert differences != figures.picture_strip({"a": [weak - strong] * 2}, ["0", "1"], 2.0)


def test_what_is_empty_in_all_pictures_is_cut_off():
    picture = np.full((48, 48), np.nan)
    picture[20:24, 24:30] = 1.0
    inside = figures.middle_of([picture, np.full((48, 48), np.nan)])
    assert (inside.start, inside.stop) == (24 - 8, 24 + 8)
    assert figures.middle_of([np.ones((48, 48))]) == slice(0, 48)
    assert figures.middle_of([np.full((48, 48), np.nan)]) == slice(0, 48)
