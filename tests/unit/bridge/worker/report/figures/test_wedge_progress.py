"""The picture of a training: two states of a volume that can be compared by eye."""

from __future__ import annotations

import numpy as np
from support.pictures import pixels, share_of

from cryobridge.bridge.worker.report import figures

WEDGE = ((-60.0, 60.0),)
YELLOW = "#E69F00"


def state(level: float, power: float) -> figures.SeenThrough:
    return figures.SeenThrough(np.full((20, 30), level), np.full((10, 30), level), np.full((10, 30), power))


def panel_means(picture: bytes) -> np.ndarray:
    """The grey in the middle of each of two by three panels, 0 to 255."""
    shown = pixels(picture).astype(float).mean(axis=2)
    height, width = shown.shape
    centres = [[(int(row * height), int(column * width)) for column in (0.19, 0.52, 0.8)] for row in (0.31, 0.77)]
    return np.array([[shown[y - 6 : y + 6, x - 6 : x + 6].mean() for y, x in row] for row in centres])


def test_both_states_are_drawn_on_one_scale() -> None:
    picture = figures.wedge_progress("step 3 of 4", {"measured": state(0, -5), "now": state(1, 2)}, (), 10.0)
    means = panel_means(picture)
    assert means[0].max() < 20
    assert means[1].min() > 235
    assert (
        np.abs(np.diff(panel_means(figures.wedge_progress("t", {"a": state(1, 2), "b": state(1, 2)}, ())), axis=0))[
            0
        ].max()
        < 3
    )


def test_the_ends_of_the_tilt_range_are_drawn_over_the_power() -> None:
    rows = {"measured": state(0, 1), "now": state(1, 2)}
    plain = figures.wedge_progress("t", rows, ())
    lined = figures.wedge_progress("t", rows, WEDGE)
    assert share_of(pixels(plain), YELLOW) == 0
    assert share_of(pixels(lined), YELLOW) > 1e-4
    columns = np.flatnonzero((np.abs(pixels(lined).astype(int) - (0xE6, 0x9F, 0x00)).max(axis=2) < 5).any(axis=0))
    assert columns.min() > 0.6 * pixels(lined).shape[1]
