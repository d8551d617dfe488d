"""Beyond the limit of a correction the half-map goes on as filtered at the limit, and fades as its signal does."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.correction import Plan, beyond_limit, fall_off, gain_beyond, prepare
from cryobridge.core.fourier import (
    apply_filter,
    expand,
    forward,
    frequency_axes,
    fsc,
    last_shell,
    radial_sum,
    radius,
    shell_index,
)
from cryobridge.core.volume import PhantomPair, cone_regions, phantom_pair


@pytest.fixture(scope="module")
def pair() -> PhantomPair:
    return phantom_pair(48, voxel_size_A=2.0, resolution_A=6.0)


def shell_power(volume: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    n = volume.shape[-1]
    counted = region.double()
    return radial_sum(forward(volume.double()).abs().square() * counted, n) / radial_sum(counted, n).clamp(min=1)


@pytest.mark.parametrize("n", [24, 25])
def test_each_direction_goes_on_from_its_own_gain(n: int) -> None:
    kz, _, _ = frequency_axes(n)
    by_direction = 0.1 + 0.8 * (kz / radius(n).clamp(min=1)).square()
    last = 8
    gain = by_direction * (shell_index(n) <= last)
    found = gain_beyond(gain, torch.ones(n // 2 + 1, dtype=torch.float64), last)
    beyond = shell_index(n) > last
    assert bool((found[~beyond] == 0).all())
    assert float((found - by_direction)[beyond].abs().max()) < 0.12


def test_the_ratio_falls_and_not_the_gain() -> None:
    n, last = 24, 6
    gain = torch.full((n, n, n // 2 + 1), 0.5) * (shell_index(n) <= last)
    fall = torch.ones(n // 2 + 1, dtype=torch.float64)
    fall[last + 1 :] = 0.25
    found = gain_beyond(gain, fall, last)
    expected = expand(torch.where(torch.arange(n // 2 + 1) > last, 0.2, 0.0), n, beyond=0.2)
    torch.testing.assert_close(found, expected)


def test_the_fall_off_is_that_of_the_signal_to_noise_ratio() -> None:
    shell = torch.arange(33, dtype=torch.float64)
    ratio = torch.exp(-shell / 12)
    fall = fall_off(ratio / (1 + ratio), 10)
    read = torch.exp(-shell[7:10] / 12).mean()
    torch.testing.assert_close(fall[10:32], torch.exp(-shell[10:32] / 12) / read, rtol=0.02, atol=0)
    assert bool((fall.diff() <= 0).all())


@pytest.mark.parametrize("at_limit", [0.0, -0.1, 0.143])
def test_halves_that_agree_no_further_fade_within_six_shells(at_limit: float) -> None:
    curve = torch.zeros(33, dtype=torch.float64)
    curve[:11] = at_limit
    fall = fall_off(curve, 10)
    assert float(fall[11] / fall[10]) > 0.9
    assert float(fall[13] / fall[10]) == pytest.approx(0.5)
    assert float(fall[16:].max()) == pytest.approx(0.0)


def test_halves_that_agree_further_than_the_limit_are_filtered_as_the_truth_would_have_it(pair: PhantomPair) -> None:
    n, limit_A = 48, 12.0
    halves = (pair.half1, pair.half2)
    ready = prepare(halves, pair.mask, pair.voxel_size_A, Plan(limit_A))
    last = last_shell(n, pair.voxel_size_A, limit_A)
    found = gain_beyond(ready.gains[0], fall_off(fsc(*halves, pair.mask), last), last)
    for region in cone_regions(pair):
        counted = region.double()
        means = [radial_sum(gain * counted, n) / radial_sum(counted, n) for gain in (found, pair.gain)]
        ratio = (means[0] / means[1])[last + 1 : last + 6]
        assert float(ratio.min()) > 0.4
        assert float(ratio.max()) < 1.6


def test_noise_does_not_begin_at_the_limit(pair: PhantomPair) -> None:
    ready = prepare((pair.half1, pair.half2), pair.mask, pair.voxel_size_A, Plan(pair.resolution_A))
    last = last_shell(48, pair.voxel_size_A, pair.resolution_A)
    halves = (pair.half1, pair.half2)
    curve = fsc(*halves, pair.mask)
    beyond = beyond_limit(pair.half1, ready.gains[0], curve, pair.voxel_size_A, pair.resolution_A)
    for region in cone_regions(pair):
        power = shell_power(ready.standards[0] + beyond, region)
        as_it_is = shell_power(pair.half1, region)
        assert float(power[last + 1] / power[last - 2 : last + 1].mean()) < 1.5
        assert float(power[last + 2 : 24].max() / power[last - 2 : last + 1].mean()) < 1.5
        assert float(as_it_is[last + 1] / power[last - 2 : last + 1].mean()) > 10


def test_without_a_curve_the_gain_stays_that_at_the_limit(pair: PhantomPair) -> None:
    ready = prepare((pair.half1, pair.half2), pair.mask, pair.voxel_size_A, Plan(12.0))
    beyond = beyond_limit(pair.half1, ready.gains[0], None, pair.voxel_size_A, 12.0)
    as_at_limit = gain_beyond(ready.gains[0], torch.ones(25), last_shell(48, pair.voxel_size_A, 12.0))
    torch.testing.assert_close(beyond, apply_filter(pair.half1, as_at_limit))
    _, rest = cone_regions(pair)
    assert float(shell_power(beyond, rest)[20]) > 0.3 * float(shell_power(pair.half1, rest)[20])
