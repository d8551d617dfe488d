"""Half-maps that tell their sampling by their noise, and those that were regularised before."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.correction import signal_share
from cryobridge.core.fourier import apply_filter
from cryobridge.core.phantoms import draw_scene
from cryobridge.core.volume import phantom_pair

N, LIMIT = 48, 17


def test_plain_half_maps_tell_it_by_their_noise() -> None:
    pair = phantom_pair(N)
    found = signal_share((pair.half1, pair.half2), pair.mask, LIMIT)
    assert (found.told_by, found.filtered) == ("noise", False)


def test_regularised_half_maps_are_recognised() -> None:
    pair = phantom_pair(N)
    found = signal_share((pair.standard1, pair.standard2), pair.mask, LIMIT)
    assert (found.told_by, found.filtered) == ("fsc", True)


def test_equal_noise_is_no_reason_to_fail() -> None:
    pair = phantom_pair(N)
    found = signal_share((pair.half1, pair.half1.clone()), pair.mask, LIMIT)
    assert found.told_by == "fsc"
    assert bool(torch.isfinite(found.fraction).all())


@pytest.mark.slow
def test_most_scenes_are_told_apart() -> None:
    """Control: a test that always said the same would be right in only four of five."""
    scenes = [draw_scene(77, number, 48) for number in range(24)]
    right = [
        signal_share((one.half1, one.half2), one.mask, one.limit_shell).filtered == one.regularised for one in scenes
    ]
    assert sum(one.regularised for one in scenes) >= 2
    assert sum(right) >= 19


def test_an_offset_changes_nothing() -> None:
    pair = phantom_pair(N)
    plain = signal_share((pair.half1, pair.half2), pair.mask, LIMIT).fraction
    moved = signal_share((pair.half1 + 50, pair.half2 - 30), pair.mask, LIMIT).fraction
    torch.testing.assert_close(plain, moved, atol=2e-2, rtol=0)


def test_beyond_the_limit_nothing_is_signal() -> None:
    pair = phantom_pair(N)
    found = signal_share((pair.half1, pair.half2), pair.mask, LIMIT).fraction
    beyond = apply_filter(pair.truth, (found == 0).float())
    assert float(beyond.std()) < float(pair.truth.std())
