"""What networks see: levelled, filtered and cropped half-maps."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.correction import (
    levelled_sight,
    resampled_mask,
    resampled_spectrum,
    sight_box,
    signal_amplitude,
)
from cryobridge.core.fourier import apply_filter, forward, radial_mean, radius, resample, shell_index
from cryobridge.core.volume import phantom_pair

N, LIMIT = 48, 16


@pytest.mark.parametrize(("n", "last"), [(64, 23), (256, 40), (48, 24), (33, 16), (64, 1)])
def test_the_limit_lies_at_three_quarters_of_the_new_nyquist(n: int, last: int) -> None:
    box = sight_box(n, last)
    assert box <= n
    assert box >= min(2 * last, n)
    assert box == n or last / (box / 2) <= 0.75 or box == 16


def test_cropping_keeps_a_spectrum_voxel_by_voxel() -> None:
    values = radius(N) + torch.arange(N // 2 + 1)
    small = resampled_spectrum(values, 32)
    assert float(small[0, 0, 3]) == float(values[0, 0, 3])
    assert float(small[-5, 7, 2]) == float(values[-5, 7, 2])


def test_a_cropped_mask_stays_a_mask() -> None:
    mask = phantom_pair(N).mask
    small = resampled_mask(mask, 32)
    assert float(small.min()) == 0
    assert float(small.max()) <= 1
    assert float(small.mean()) == pytest.approx(float(mask.mean()), abs=0.01)


@pytest.mark.parametrize("filtered", [False, True])
def test_signal_has_a_level_spectrum_and_deviation_one_inside_the_mask(*, filtered: bool) -> None:
    pair = phantom_pair(N, inside=1.0)
    halves = (pair.half1, pair.half2)
    given = (apply_filter(pair.half1, pair.gain), apply_filter(pair.half2, pair.gain)) if filtered else halves
    sight = levelled_sight(given, pair.gain, pair.mask, LIMIT, filtered=filtered)
    # The truth, brought to the same scale by the very gain that a start is made with.
    truth = sight.start_of(pair.truth, 1)
    m = truth.shape[-1]
    inside = resampled_mask(pair.mask, m) > 0.5
    if not filtered:
        assert float(truth[inside].std()) == pytest.approx(1.0, abs=0.25)
        power = radial_mean(forward(truth * resampled_mask(pair.mask, m)).abs().square(), m)[4 : LIMIT - 1]
        assert float(power.std() / power.mean()) < 0.35
    assert float(forward(sight.starts[0])[shell_index(m) >= LIMIT].abs().max()) < 1e-2


def test_what_is_filtered_already_is_seen_as_it_is() -> None:
    pair = phantom_pair(N)
    sight = levelled_sight((pair.standard1, pair.standard2), pair.gain, pair.mask, LIMIT, filtered=True)
    assert torch.equal(sight.seen(sight.starts[0]), sight.starts[0])
    plain = levelled_sight((pair.half1, pair.half2), pair.gain, pair.mask, LIMIT)
    assert float((plain.seen(plain.starts[0]) - plain.starts[0]).abs().max()) > 0.1


def test_the_amplitude_of_the_signal_is_found_in_noise() -> None:
    pair = phantom_pair(N, inside=1.0)
    found = signal_amplitude((pair.standard1, pair.standard2), pair.gain, pair.mask)
    share = float(pair.mask.square().mean())
    true = (radial_mean(forward(pair.truth * pair.mask).abs().square(), N) / share).sqrt()
    ratio = (found / true)[3:LIMIT]
    assert float(ratio.min()) > 0.8
    assert float(ratio.max()) < 1.35


def test_no_scale_of_the_half_maps_is_seen() -> None:
    pair = phantom_pair(N)
    sights = [
        levelled_sight((scale * pair.half1, scale * pair.half2), pair.gain, pair.mask, LIMIT) for scale in (1.0, 1e-4)
    ]
    torch.testing.assert_close(sights[0].starts[0], sights[1].starts[0], rtol=1e-3, atol=1e-3)
    assert sights[0].starts[0].shape[-1] == sight_box(N, LIMIT - 1)
    assert resample(pair.half1, 32).shape == (32, 32, 32)
