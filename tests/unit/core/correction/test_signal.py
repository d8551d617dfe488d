"""Half-maps that tell their sampling by their noise, and those that were regularised before."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.correction import signal, signal_share
from cryobridge.core.directional import (
    DirectionalSampling,
    fraction_of_signal,
    fsc3d,
    mean_phase_cosine,
    sampling_from_noise,
)
from cryobridge.core.fourier import apply_filter, shell_index
from cryobridge.core.phantoms import draw_scene
from cryobridge.core.volume import operators, phantom_pair, symmetrise_spectrum

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


# What differs are the rounding errors of two more float32 transforms. They turn phases only in voxels with next to no
# amplitude, and a shell's mean cosine by some 1e-5; a crop that cut off what counts moves the fraction by 1e-2.
ROUNDING = {"atol": 2e-4, "rtol": 0.0}


@pytest.mark.parametrize("limit", [7, LIMIT, N // 2 - 1, N // 2 + 1])
@pytest.mark.parametrize("group", ["C1", "C4"])
@pytest.mark.parametrize("n", [N, N + 1])
def test_the_smaller_box_tells_by_the_noise_what_the_whole_one_does(n: int, limit: int, group: str) -> None:
    pair, rotations = phantom_pair(n), operators(group)
    halves = pair.half1 - pair.half1.mean(), pair.half2 - pair.half2.mean()
    # A mask with a sharp edge carries most from beyond the limit into the shells within.
    mask = (pair.mask > 0.5).float()
    sampling = sampling_from_noise(*halves, limit)
    whole = symmetrise_spectrum(fraction_of_signal(sampling, mean_phase_cosine(*halves, mask), limit), rotations)
    found = signal_share((pair.half1, pair.half2), mask, limit, rotations)
    assert found.told_by == "noise"
    torch.testing.assert_close(found.fraction, whole * (shell_index(n) < limit), **ROUNDING)


@pytest.mark.parametrize("n", [N, N + 1])
def test_the_smaller_box_tells_by_the_fsc_what_the_whole_one_does(n: int) -> None:
    pair = phantom_pair(n)
    mask = (pair.mask > 0.5).float()
    whole = fsc3d(pair.standard1, pair.standard2, mask, limit_shell=LIMIT, form="sum_ratio").clamp(0, 0.999)
    found = signal_share((pair.standard1, pair.standard2), mask, LIMIT)
    assert found.told_by == "fsc"
    torch.testing.assert_close(found.fraction, whole, **ROUNDING)


def test_no_work_is_done_on_voxels_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = []

    def noted(half1: torch.Tensor, half2: torch.Tensor, limit_shell: int) -> DirectionalSampling:
        boxes.append(half1.shape[0])
        return sampling_from_noise(half1, half2, limit_shell)

    monkeypatch.setattr(signal, "sampling_from_noise", noted)
    pair = phantom_pair(N)
    found = signal_share((pair.half1, pair.half2), pair.mask, 9)
    assert boxes == [18]
    assert found.fraction.shape == (N, N, N // 2 + 1)
