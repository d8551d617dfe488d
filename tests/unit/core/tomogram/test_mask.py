"""Measures of a mask are those of the direct definitions, and blocks give what the whole gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from cryobridge.core.tomogram import (
    ValueCounts,
    binned_by_2,
    blocks,
    mask_margin,
    mask_measures,
    mirrored_places,
    outline_in_bins,
    outline_plane,
    upsampled_by_2,
)


def noise(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(6).standard_normal(shape)).float()


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_measures_are_filters_of_a_smoothed_volume(patch: int) -> None:
    """Held against scipy's, which mirrors for a largest value; a box that ends at the border is written out."""
    volume = noise(14, 15, 16)
    density, spread = mask_measures(volume, patch)
    smooth = ndimage.gaussian_filter(volume.double().numpy(), patch / 2)
    np.testing.assert_allclose(density, ndimage.maximum_filter(-smooth, 2 * patch + 1), atol=1e-5)
    for z, y, x in ((0, 0, 0), (7, 7, 7), (13, 3, 15)):
        box = smooth[tuple(slice(max(0, at - patch), at + patch + 1) for at in (z, y, x))]
        assert float(spread[z, y, x]) == pytest.approx(box.std(), abs=1e-4)


def test_blocks_with_their_margin_give_what_the_whole_gives() -> None:
    volume, patch = noise(30, 40, 44), 2
    whole = mask_measures(volume, patch)
    margin = mask_margin(patch)
    for block in blocks((30, 40, 44), (16, 20, 20), (margin,) * 3):
        clipped = block.clipped((30, 40, 44))
        part = mask_measures(volume[tuple(slice(*span) for span in clipped.read)], patch)
        for of_part, of_whole in zip(part, whole, strict=True):
            kept = of_whole[tuple(slice(*span) for span in block.kept)]
            torch.testing.assert_close(of_part[clipped.inside], kept, rtol=0, atol=1e-5)


def test_binning_is_the_mean_of_eight_and_its_inverse_repeats() -> None:
    volume = noise(5, 6, 7)
    binned = binned_by_2(volume)
    assert binned.shape == (2, 3, 3)
    assert float(binned[1, 2, 0]) == pytest.approx(float(volume[2:4, 4:6, 0:2].mean()), abs=1e-6)
    mask = torch.ones(2, 3, 3, dtype=torch.int8)
    full = upsampled_by_2(mask, (5, 6, 7))
    assert bool((full[:4, :, :6] == 1).all())
    assert int(full[4].sum()) == int(full[..., 6].sum()) == 0


def test_percentiles_are_found_by_counting() -> None:
    values = noise(40, 50, 50)
    counts = ValueCounts(-8.0, 8.0)
    for part in values.split(7):
        counts.add(part)
    for percent in (0.0, 20.0, 50.0, 99.0, 100.0):
        assert counts.percentile(percent) == pytest.approx(np.percentile(values, percent), abs=5e-4)
    with pytest.raises(ValueError, match="nothing"):
        ValueCounts(0, 1).percentile(50)


def test_an_outline_holds_what_lies_inside() -> None:
    square = torch.tensor([[1.5, 2.5], [1.5, 6.5], [5.5, 6.5], [5.5, 2.5]])
    plane = outline_plane(square, (8, 9))
    wanted = torch.zeros(8, 9, dtype=torch.bool)
    wanted[2:6, 3:7] = True
    assert torch.equal(plane, wanted)
    turn = torch.linspace(0, 6.2832, 200)[:-1]
    circle = 20 + 15.2 * torch.stack([turn.sin(), turn.cos()], dim=1)
    assert int(outline_plane(circle, (41, 41)).sum()) == pytest.approx(np.pi * 15.2**2, rel=0.01)
    with pytest.raises(ValueError, match="2 points"):
        outline_plane(square[:2], (8, 9))


def test_two_last_points_far_apart_mark_the_range_of_z() -> None:
    drawn = [(10, 20, 30), (40, 20, 30), (40, 60, 30), (0, 0, 12), (0, 0, 50)]
    outline, limits = outline_in_bins(drawn)
    assert outline.tolist() == [[10, 5], [10, 20], [30, 20]]
    assert limits == (6.0, 25.0)
    outline, limits = outline_in_bins(drawn[:3])
    assert (len(outline), limits) == (3, None)
    assert len(outline_in_bins([(0, 0, 0), (0, 0, 40)])[0]) == 0


def test_mirrored_places_repeat_the_border() -> None:
    assert mirrored_places(-3, 9, 4).tolist() == [2, 1, 0, 0, 1, 2, 3, 3, 2, 1, 0, 0]
