"""Crops: where they lie, and the Fourier weight at their size."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.fourier.transforms import radius
from cryobridge.core.volume.subvolumes import (
    draw_corners,
    padded_to,
    possible_centres,
    resampled_weight,
    take,
)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("n", [7, 8, 12])
def test_padding_keeps_the_centre_and_is_undone_by_cropping(n: int) -> None:
    volume = torch.randn(n, n, n, generator=_generator())
    padded = padded_to(volume, 16)
    assert padded.shape == (16, 16, 16)
    assert torch.allclose(padded[8, 8, 8], volume[n // 2, n // 2, n // 2], atol=1e-6)
    start = 8 - n // 2
    inside = slice(start, start + n)
    assert torch.allclose(padded[inside, inside, inside], volume, atol=1e-6)


def test_a_large_map_is_not_padded() -> None:
    volume = torch.randn(20, 20, 20)
    assert padded_to(volume, 16) is volume


def test_cubes_are_centred_in_the_mask_and_lie_inside_the_box() -> None:
    mask = torch.zeros(40, 40, 40)
    mask[18:23, 18:23, 18:23] = 0.2
    corners = draw_corners(possible_centres(mask), 40, 16, 60, _generator())
    assert corners.min() >= 10
    assert corners.max() <= 14
    assert len({tuple(c) for c in corners.tolist()}) == 60


def test_cubes_near_the_edge_are_moved_inside() -> None:
    mask = torch.zeros(24, 24, 24)
    mask[0, 0, 0] = mask[23, 23, 23] = 1
    corners = draw_corners(possible_centres(mask), 24, 16, 50, _generator())
    assert {tuple(c) for c in corners.tolist()} == {(0, 0, 0), (8, 8, 8)}


def test_an_empty_mask_means_everywhere() -> None:
    assert len(possible_centres(torch.zeros(4, 4, 4))) == 64


@pytest.mark.parametrize("side", [15, 16])
def test_centres_of_whole_cubes_leave_out_those_whose_cube_sticks_out(side: int) -> None:
    mask = torch.ones(24, 24, 24)
    corners = possible_centres(mask, side) - side // 2
    assert len(corners) == (24 - side + 1) ** 3
    assert int(corners.min()) == 0
    assert int(corners.max()) == 24 - side
    mask[:] = 0
    mask[0, 0, 0] = mask[12, 12, 12] = 1
    assert possible_centres(mask, side).tolist() == [[12, 12, 12]]
    # Where no cube in the mask lies in the box whole, any that does is better than none.
    mask[12, 12, 12] = 0
    assert len(possible_centres(mask, side)) == (24 - side + 1) ** 3


def test_few_of_many_are_distinct_and_the_same_for_one_seed() -> None:
    centres = possible_centres(torch.ones(32, 32, 32))
    first = draw_corners(centres, 64, 8, 50, _generator(4))
    assert torch.equal(first, draw_corners(centres, 64, 8, 50, _generator(4)))
    assert not torch.equal(first, draw_corners(centres, 64, 8, 50, _generator(5)))


def test_a_cube_larger_than_the_box_is_refused() -> None:
    with pytest.raises(ValueError, match="cubes of 16 do not fit into a box of 8"):
        draw_corners(torch.zeros(1, 3, dtype=torch.int64), 8, 16, 1, _generator())


def test_taken_cubes_hold_the_right_voxels() -> None:
    volume = torch.arange(8**3).reshape(8, 8, 8)
    cubes = take(volume, torch.tensor([[0, 1, 2], [4, 4, 4]]), 4)
    assert torch.equal(cubes[0, 0], volume[0:4, 1:5, 2:6])
    assert torch.equal(cubes[1, 0], volume[4:, 4:, 4:])


@pytest.mark.parametrize(("n", "side"), [(48, 32), (33, 16), (24, 32), (25, 32), (32, 24)])
def test_resampled_weight_has_dc_in_place_stays_in_range_and_follows_the_frequency(n: int, side: int) -> None:
    weight = torch.exp(-((radius(n) / n / 0.3) ** 2))
    resampled = resampled_weight(weight, n, side)
    expected = torch.exp(-((radius(side) / side / 0.3) ** 2))
    assert resampled.shape == (side, side, side // 2 + 1)
    assert float(resampled.max()) == float(resampled[0, 0, 0])
    assert float(resampled.min()) >= 0
    assert float(resampled.max()) <= 1
    within = radius(side) < 0.4 * side
    assert float((resampled - expected)[within].abs().max()) < 0.06


@pytest.mark.parametrize(("n", "side"), [(48, 32), (25, 32)])
def test_resampled_weight_is_mirror_symmetric(n: int, side: int) -> None:
    weight = torch.fft.rfftn(torch.rand(n, n, n, generator=_generator())).abs()
    resampled = resampled_weight(weight, n, side)
    # In the plane kx = 0 both Friedel mates are stored.
    both = torch.arange(1 - side // 2, side // 2)
    plane = resampled[both][:, both, 0]
    assert torch.allclose(plane, plane.flip(0, 1), atol=1e-6)


def test_weight_of_the_same_size_is_untouched() -> None:
    weight = torch.rand(16, 16, 9, generator=_generator())
    assert torch.equal(resampled_weight(weight, 16, 16), weight)


def test_weight_of_another_box_is_refused() -> None:
    with pytest.raises(ValueError, match="not the half spectrum"):
        resampled_weight(torch.ones(16, 16, 16), 16, 8)
