"""The corrected map is whole up to its limit, whatever the box, the voxel size and the limit, and goes on beyond it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cryobridge.core.correction import Finish, Plan, finished, prepare, where_networks_count
from cryobridge.core.correction import fill as fill_alone
from cryobridge.core.fourier import apply_filter, forward, fsc, last_shell, radial_sum, radius, resample
from cryobridge.core.volume import PhantomPair, cone_regions, phantom_pair


def halves_of(n: int, noise: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    """A truth (n, n, n) that falls off, and two half-maps of it."""
    generator = torch.Generator().manual_seed(n)
    fall = torch.exp(-radius(n) / (n / 4))
    truth, *noises = (apply_filter(torch.randn(n, n, n, generator=generator), fall) for _ in range(3))
    return truth, truth + noise * noises[0], truth + noise * noises[1]


def fill(half1: Tensor, half2: Tensor, mask: Tensor | None = None) -> Finish:
    """As `map.correct` does by default."""
    return Finish(keep_beyond=True, halves_fsc=fsc(half1, half2, mask))


# 56.0 came out as 55 where n * a / limit is a little less than whole; the limit is that of a shell of each box.
@pytest.mark.parametrize("n", [24, 25, 32])
@pytest.mark.parametrize("voxel_size_A", [0.83, 1.06, 1.31, 2.1])
@pytest.mark.parametrize("below_nyquist", [0, 1, 2, 5])
def test_the_last_shell_within_the_limit_is_there(n: int, voxel_size_A: float, below_nyquist: int) -> None:
    truth, half1, half2 = halves_of(n)
    shell = (n - 1) // 2 - below_nyquist
    limit_A = n * voxel_size_A / shell
    for asked_A in (limit_A, round(limit_A, 4), n * voxel_size_A / (shell + 0.4)):
        ready = prepare((half1, half2), None, voxel_size_A, Plan(asked_A))
        corrected = finished(ready, 1, truth, fill(half1, half2))
        assert float(fsc(corrected, truth)[shell]) > 0.9
        power = radial_sum(forward(corrected).abs().square(), n) / radial_sum(forward(truth).abs().square(), n)
        assert 0.5 < float(power[shell] / power[shell - 1]) < 2


@pytest.mark.parametrize("limit_A", [2.0, 1.2])
def test_a_limit_at_nyquist_or_beyond_leaves_no_shell_out(limit_A: float) -> None:
    truth, half1, half2 = halves_of(24)
    ready = prepare((half1, half2), None, 1.0, Plan(limit_A))
    corrected = finished(ready, 2, truth, fill(half1, half2))
    assert float(fsc(corrected, truth)[1:12].min()) > 0.9
    assert float(fsc(corrected, half2)[12]) > 0.9


@pytest.fixture(scope="module")
def pair() -> PhantomPair:
    return phantom_pair()


def test_power_does_not_jump_at_the_limit_in_the_cone_or_out_of_it(pair: PhantomPair) -> None:
    n, last = 48, last_shell(48, pair.voxel_size_A, pair.resolution_A)
    ready = prepare((pair.half1, pair.half2), pair.mask, pair.voxel_size_A, Plan(pair.resolution_A))
    how = fill(pair.half1, pair.half2, pair.mask)
    for network_map in (pair.truth * pair.mask, 0.3 * pair.truth * pair.mask, torch.zeros_like(pair.truth)):
        corrected = finished(ready, 1, network_map, how)
        for region in cone_regions(pair):
            counted = region.double()
            power = radial_sum(forward(corrected.double() * pair.mask).abs().square() * counted, n)
            power = power / radial_sum(counted, n)
            at_limit = power[last - 2 : last + 1].mean()
            # From one shell to the next it falls as the signal does; the half-map as it is has 5 to 170 times as much.
            assert float(power[last + 1] / at_limit) > 0.1
            assert float(power[last + 1 :].max() / at_limit) < 1


def test_outside_the_mask_the_half_map_comes_back_as_it_was(pair: PhantomPair) -> None:
    """A network's map on any scale and with any noise there leaves no trace; inside nothing changes."""
    ready = prepare((pair.half1, pair.half2), pair.mask, pair.voxel_size_A, Plan(pair.resolution_A))
    noise = 0.3 * torch.randn(pair.truth.shape, generator=torch.Generator().manual_seed(1)) * pair.half1.std()
    outside = where_networks_count(pair.mask, 48) == 0
    assert float(outside.float().mean()) > 0.2
    network = pair.truth + noise * outside
    plain, noisy = (finished(ready, 1, one, fill(pair.half1, pair.half2, pair.mask)) for one in (pair.truth, network))
    torch.testing.assert_close(noisy[outside], pair.half1[outside], atol=1e-4, rtol=0)
    inside = pair.mask > 0.99
    assert float((noisy - plain)[inside].std() / plain[inside].std()) < 0.1


def test_the_fill_takes_its_scale_from_the_other_half(pair: PhantomPair) -> None:
    """A network's map that keeps half of its own half's noise would come out too strong on that half's scale."""
    ready = prepare((pair.half1, pair.half2), pair.mask, pair.voxel_size_A, Plan(pair.resolution_A))
    network = pair.truth + 0.5 * (pair.half1 - pair.truth)
    how = Finish(prior_variance=0.0, halves_fsc=fsc(pair.half1, pair.half2, pair.mask))
    made = finished(ready, 1, network, how)
    a, b = (forward(one * pair.mask) for one in (made, pair.truth))
    shells = slice(8, last_shell(48, pair.voxel_size_A, pair.resolution_A))
    ratio = radial_sum((a * b.conj()).real, 48)[shells] / radial_sum(a.abs().square(), 48)[shells]
    own = fill_alone(ready.standards[0], network, ready.gains[0], pair.mask, prior_variance=0.0)
    c = forward(own * pair.mask)
    too_strong = radial_sum((c * b.conj()).real, 48)[shells] / radial_sum(c.abs().square(), 48)[shells]
    assert bool((ratio > too_strong).all())
    assert float(ratio[-3:].mean()) > 1.8 * float(too_strong[-3:].mean())


def test_halves_kept_apart_get_the_amplitudes_of_a_best_estimate(pair: PhantomPair) -> None:
    """Of a levelled map that keeps noise of its half; a fit by shell to that half alone makes it too strong."""
    plan = Plan(pair.resolution_A, level=True, apart=True)
    ready = prepare((pair.half1, pair.half2), pair.mask, pair.voxel_size_A, plan)
    estimate = ready.sight.seen(ready.sight.starts[0])
    how = Finish(prior_variance=0.0, apart=True)
    made = finished(ready, 1, estimate, how)
    whole = resample(ready.sight.unlevelled(estimate, 1), 48)
    fitted = fill_alone(ready.standards[0], whole, ready.gains[0], pair.mask, prior_variance=0.0)
    n, shells = 48, slice(4, last_shell(48, pair.voxel_size_A, pair.resolution_A))

    def multiplier(volume: Tensor) -> Tensor:
        """What the map would have to be multiplied by, shell by shell, to be nearest to the truth."""
        a, b = (forward(one * pair.mask) for one in (volume, pair.truth))
        return (radial_sum((a * b.conj()).real, n) / radial_sum(a.abs().square(), n))[shells]

    apart, alone = (multiplier(one) for one in (made, fitted))
    assert float((apart - 1).abs().mean()) < 0.15
    assert float((alone - 1).abs().mean()) > 2 * float((apart - 1).abs().mean())


def test_one_half_says_nothing_of_the_other_where_they_are_kept_apart(pair: PhantomPair) -> None:
    """Another half 2, of the same sampling and agreement as RELION tells them, changes nothing in half 1's map."""
    gain = torch.full((48, 48, 25), 0.5)
    generator = torch.Generator().manual_seed(1)
    made = []
    for second in (pair.half2, pair.half2 + 0.1 * torch.randn(pair.half2.shape, generator=generator)):
        plan = Plan(pair.resolution_A, level=True, apart=True, given_fraction=gain)
        ready = prepare((pair.half1, second), pair.mask, pair.voxel_size_A, plan)
        made.append(finished(ready, 1, ready.sight.starts[0], Finish(apart=True, prior_variance=0.25)))
    assert torch.equal(made[0], made[1])


def test_beyond_the_limit_the_standard_map_stays_whatever_the_prior(pair: PhantomPair) -> None:
    ready = prepare((pair.half1, pair.half2), None, pair.voxel_size_A, Plan(2 * pair.resolution_A))
    made = finished(ready, 1, pair.truth, Finish(prior_variance=0.25))
    beyond = radius(48) > last_shell(48, pair.voxel_size_A, 2 * pair.resolution_A) + 1
    torch.testing.assert_close(forward(made)[beyond], forward(ready.standards[0])[beyond], atol=1e-2, rtol=1e-3)
