"""Contour levels enclose what they say, on any scale."""

from __future__ import annotations

import pytest
import torch

from cryobridge.bridge.worker.report.levels import PARTICLE_SHARE, contour_level, contour_levels, enclosing_level
from cryobridge.core.volume.masks import soft_sphere
from cryobridge.core.volume.phantom import phantom_pair


def distances(n: int) -> torch.Tensor:
    """Minus the distance from the centre: contours are spheres of known volume."""
    axis = torch.arange(n, dtype=torch.float64) - n // 2
    return -(axis.view(n, 1, 1) ** 2 + axis.view(1, n, 1) ** 2 + axis.view(1, 1, n) ** 2).sqrt()


def test_a_level_encloses_a_share_of_the_mask():
    mask = soft_sphere(40, 12.0, 4.0)
    volume = distances(40)
    inside = float((mask > 0.5).sum())
    level = contour_level(volume, mask)
    assert float((volume >= level).sum()) == pytest.approx(PARTICLE_SHARE * inside, rel=0.03)
    assert -level == pytest.approx(14.0 * PARTICLE_SHARE ** (1 / 3), rel=0.03), "the radius of that ball"


def test_density_outside_the_mask_has_no_say():
    mask = soft_sphere(24, 6.0, 2.0)
    volume = distances(24)
    bright = torch.where(mask > 0, volume, 100.0)
    assert contour_level(bright, mask) == contour_level(volume, mask)


def test_without_a_mask_it_is_three_deviations_above_the_mean():
    volume = 5.0 + 2.0 * torch.randn(32, 32, 32, generator=torch.Generator().manual_seed(1))
    assert contour_level(volume) == pytest.approx(11.0, rel=0.01)


def test_the_particle_of_a_phantom_is_enclosed_and_the_solvent_is_not():
    pair = phantom_pair(32, 2.5)
    level = contour_level(pair.truth, pair.mask)
    shown = pair.truth >= level
    assert float(pair.mask[shown].min()) > 0.5
    assert float(pair.truth[shown].sum() / pair.truth.clamp(min=0).sum()) > 0.8


def test_the_like_of_a_level_follows_scale_and_offset():
    mask = soft_sphere(24, 8.0, 2.0)
    volume = distances(24) + 1e-3 * torch.randn(24, 24, 24, generator=torch.Generator().manual_seed(2))
    levels = contour_levels({"before": volume, "after": 3.0 * volume - 7.0}, mask)
    assert levels["after"] == pytest.approx(3.0 * levels["before"] - 7.0)
    maps = {"before": volume, "after": 0.01 * volume}
    enclosed = {int((maps[name] >= level).sum()) for name, level in contour_levels(maps).items()}
    assert len(enclosed) == 1


def test_a_level_without_a_mask_always_shows_something():
    volume = distances(24)  # its largest value is less than three deviations above the mean
    assert int((volume >= contour_level(volume)).sum()) >= 14


@pytest.mark.parametrize(("count", "level"), [(1, 4.0), (2, 3.0), (4, 1.0), (0, 4.0), (9, 1.0)])
def test_so_many_values_reach_the_level(count, level):
    assert enclosing_level(torch.tensor([3.0, 1.0, 4.0, 2.0]), count) == level


def test_maps_and_masks_without_a_level_are_refused():
    volume = torch.zeros(8, 8, 8)
    with pytest.raises(ValueError, match="mask is empty"):
        contour_level(volume, torch.zeros(8, 8, 8))
    volume[0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        contour_level(volume)
