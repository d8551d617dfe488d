"""The Fourier pixels of images."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.particles import half_disc


@pytest.mark.parametrize("box", [16, 24, 32, 64, 100, 128])
def test_a_radius_that_was_read_off_the_last_pixel_gives_the_same_disc(box: int) -> None:
    whole = half_disc(box, box / 2 - 1e-3)
    assert torch.equal(half_disc(box, float(whole.radii[-1])).points, whole.points)
