"""A PNG of ours gives back the pixels that went in, to a reader that is not ours."""

from __future__ import annotations

import numpy as np
import pytest
from support.pictures import pixels

from cryobridge.bridge.worker.report.figures.encoding import as_png


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (40, 61)])
@pytest.mark.parametrize("kind", ["noise", "grey noise", "lines", "one colour"])
def test_pixels_come_back(shape, kind):
    random = np.random.default_rng(1)
    picture = {
        "noise": random.integers(0, 256, (*shape, 3)),
        "grey noise": np.repeat(random.integers(0, 256, (*shape, 1)), 3, axis=2),
        "lines": np.broadcast_to(random.integers(0, 256, (shape[1], 3)), (*shape, 3)),
        "one colour": np.broadcast_to([10, 20, 30], (*shape, 3)),
    }[kind].astype(np.uint8)
    np.testing.assert_array_equal(pixels(as_png(picture)), picture)


def test_grey_pictures_take_a_third():
    grey = np.random.default_rng(2).integers(0, 256, (100, 100, 1)).astype(np.uint8)
    tinted = np.random.default_rng(2).integers(0, 256, (100, 100, 3)).astype(np.uint8)
    assert len(as_png(np.repeat(grey, 3, axis=2))) < 0.4 * len(as_png(tinted))


def test_rows_that_repeat_cost_next_to_nothing():
    row = np.random.default_rng(3).integers(0, 256, (1, 500, 3)).astype(np.uint8)
    assert len(as_png(np.repeat(row, 400, axis=0))) < 4000
