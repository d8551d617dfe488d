"""Centres lie in the mask, where the crop fits; where none is possible the answer says along which axis."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.tomogram import NoPosition, Positions, drawn_positions


def draw(mask: torch.Tensor, crop: int, count: int, seed: int = 0, **how: bool) -> Positions | NoPosition:
    shape = (mask.shape[0], mask.shape[1], mask.shape[2])
    return drawn_positions(lambda start, stop: mask[start:stop], shape, crop, count, seed, at_a_time=3, **how)


def ball(*shape: int) -> torch.Tensor:
    mask = torch.zeros(shape, dtype=torch.int8)
    mask[shape[0] // 4 : -2, 3:-4, 5:] = 1
    return mask


@pytest.mark.parametrize("crop", [1, 5, 8])
@pytest.mark.parametrize("count", [1, 40, 3000])
def test_crops_lie_in_the_tomogram_and_their_centres_in_the_mask(crop: int, count: int) -> None:
    mask = ball(20, 18, 19)
    found = draw(mask, crop, count)
    assert isinstance(found, Positions)
    assert len(found.centres) == count
    z, y, x = found.centres.T
    assert bool((mask[z, y, x] == 1).all())
    corners = found.centres - crop // 2
    assert bool((corners >= 0).all())
    assert bool((corners + crop <= torch.tensor([20, 18, 19])).all())
    places = {tuple(place) for place in found.centres.tolist()}
    assert len(places) == min(count, found.valid)


def test_all_valid_places_are_drawn_alike() -> None:
    mask = torch.zeros(8, 8, 8)
    mask[2:6, 2:6, 2:6] = 1
    hits = torch.zeros(8, 8, 8)
    for seed in range(200):
        found = draw(mask, 3, 8, seed)
        assert isinstance(found, Positions)
        hits[tuple(found.centres.T)] += 1
    inside = hits[2:6, 2:6, 2:6]
    assert (float(inside.min()), float(inside.sum())) > (8, 1600 - 1)
    assert float(inside.max()) < 48  # 25 are expected


def test_a_seed_gives_the_same_places_whatever_is_asked_for_at_once() -> None:
    mask = ball(20, 18, 19)
    one = draw(mask, 4, 30, 7)
    other = drawn_positions(lambda start, stop: mask[start:stop], (20, 18, 19), 4, 30, 7, at_a_time=11)
    assert isinstance(one, Positions)
    assert isinstance(other, Positions)
    assert torch.equal(one.centres, other.centres)


def test_few_are_drawn_out_of_very_many() -> None:
    found = drawn_positions(lambda start, stop: torch.ones(stop - start, 60, 60), (60, 60, 60), 4, 50, 1)
    assert isinstance(found, Positions)
    assert len({tuple(place) for place in found.centres.tolist()}) == 50


def test_a_thin_tomogram_is_told_by_its_axis() -> None:
    found = draw(torch.ones(10, 40, 40), 16, 5)
    assert isinstance(found, NoPosition)
    assert (found.thin, found.short, found.masked) == (("z",), ("z",), 16000)


def test_a_mask_at_the_border_is_told_by_its_axis() -> None:
    mask = torch.zeros(40, 40, 40)
    mask[:5, 10:30, 10:30] = 1
    found = draw(mask, 16, 5)
    assert isinstance(found, NoPosition)
    assert (found.thin, found.short) == ((), ("z",))
    assert found.spans == ((0, 5), (10, 30), (10, 30))
    assert found.allowed[0] == (8, 33)


def test_an_empty_mask_is_told() -> None:
    found = draw(torch.zeros(20, 20, 20), 4, 5)
    assert isinstance(found, NoPosition)
    assert (found.masked, found.spans, found.short) == (0, None, ())


def test_beyond_the_border_every_place_of_the_mask_is_possible() -> None:
    found = draw(torch.ones(6, 20, 20), 16, 9, beyond=True)
    assert isinstance(found, Positions)
    assert found.valid == 2400
