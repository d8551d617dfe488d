"""Hold-out on pairs whose bad cone is known: it is found, a good cone becomes like it, and nothing else changes."""

from __future__ import annotations

import math

import pytest
import torch

from cryobridge.core.diagnosis import holdout
from cryobridge.core.directional.area_ratio import judged
from cryobridge.core.directional.correlation import conical_fsc
from cryobridge.core.fourier.directions import fibonacci_directions
from cryobridge.core.fourier.shells import radial_mean
from cryobridge.core.fourier.transforms import forward
from cryobridge.core.volume import phantom

N = 48
Z = torch.tensor([[1.0, 0.0, 0.0]])
X = torch.tensor([[0.0, 0.0, 1.0]])
USED = slice(5, 16)


@pytest.fixture(scope="module")
def pair() -> phantom.PhantomPair:
    return phantom.phantom_pair(N, 2.0, 5.0, inside=0.05)


@pytest.fixture(scope="module")
def held_out(pair: phantom.PhantomPair) -> holdout.HeldOut:
    bad, good = holdout.Cone(Z, 25.0), holdout.Cone(X, 25.0)
    return holdout.degrade(pair.half1, pair.half2, good, bad, torch.Generator().manual_seed(5))


def test_the_worst_direction_is_in_the_cone_and_the_best_is_apart_from_it(pair: phantom.PhantomPair) -> None:
    directions = fibonacci_directions(150)
    curves = judged(conical_fsc(pair.half1, pair.half2, directions))
    worst, best = holdout.worst_and_best(curves, directions)
    assert math.degrees(math.acos(float(directions[worst, 0].abs()))) < 30
    apart = float((directions[worst] @ directions[best]).abs())
    assert math.degrees(math.acos(apart)) > 40


def test_symmetry_mates_of_the_worst_are_kept_away_from_too() -> None:
    directions = torch.eye(3)[[1, 2, 0]]
    curves = torch.stack([torch.zeros(20), torch.ones(20), 0.9 * torch.ones(20)])
    quarter = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    assert holdout.worst_and_best(curves, directions) == (0, 1)
    assert holdout.worst_and_best(curves, directions, symmetry=quarter) == (0, 2)


def test_the_good_cone_becomes_as_bad_as_the_bad_one(pair: phantom.PhantomPair, held_out: holdout.HeldOut) -> None:
    good, bad = (holdout.score(held_out.half1, held_out.half2, holdout.Cone(axis, 25.0)) for axis in (X, Z))
    before = holdout.score(pair.half1, pair.half2, holdout.Cone(X, 25.0))
    assert float((before - bad)[USED].mean()) > 0.2
    assert float((good - held_out.fsc_aimed)[USED].abs().mean()) < 0.08
    assert float((good - bad)[USED].mean().abs()) < 0.05
    assert torch.allclose(held_out.fsc_before, before, atol=1e-5)


def test_the_power_becomes_that_of_the_bad_cone(pair: phantom.PhantomPair, held_out: holdout.HeldOut) -> None:
    inside = [holdout.Cone(axis, 25.0).member(N) for axis in (X, Z)]
    made, like = (
        radial_mean(forward(half).abs().square() * member, N)[USED] / radial_mean(member.float(), N)[USED]
        for half, member in ((held_out.half1, inside[0]), (pair.half1, inside[1]))
    )
    assert float((made / like).log().abs().mean()) < 0.2


@pytest.mark.parametrize("n", [24, 25])
def test_the_rest_of_fourier_space_is_untouched(n: int) -> None:
    halves = [torch.randn(n, n, n, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    common = torch.randn(n, n, n, generator=torch.Generator().manual_seed(3))
    axis = torch.nn.functional.normalize(torch.tensor([[1.0, 2.0, 3.0]]), dim=1)
    cone = holdout.Cone(axis, 20.0)
    found = holdout.degrade(
        halves[0] + 3 * common, halves[1] + 3 * common, cone, holdout.Cone(axis.roll(1, 1), 20.0), torch.Generator()
    )
    change = forward(found.half1 - halves[0] - 3 * common).abs()
    assert float(change[~cone.member(n)].max()) < 1e-3
    other = holdout.degrade(common, halves[0], cone, cone, torch.Generator())
    assert torch.allclose(other.half1, common, atol=1e-5)


def test_a_cone_with_mates_holds_each_of_them() -> None:
    half_turn = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], [[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]]])
    axis = torch.nn.functional.normalize(torch.tensor([[1.0, 1.0, 0.0]]), dim=1)
    both = holdout.Cone(axis, 15.0).with_mates(half_turn).member(N)
    mate = holdout.Cone(axis * torch.tensor([1.0, -1.0, 1.0]), 15.0).member(N)
    assert torch.equal(both, holdout.Cone(axis, 15.0).member(N) | mate)
    assert bool((both != mate).any())


def test_the_score_rises_when_the_truth_comes_back(pair: phantom.PhantomPair, held_out: holdout.HeldOut) -> None:
    full = pair.half1 + pair.half2
    bad = held_out.half1 + held_out.half2
    repaired = bad + 2 * pair.truth
    scores = [holdout.score(volume, full, held_out.cone, pair.mask) for volume in (bad, repaired, full)]
    shells = torch.zeros(N // 2 + 1, dtype=torch.bool)
    shells[USED] = True
    means = [holdout.mean_score(curve, shells) for curve in scores]
    assert means[0] + 0.05 < means[1] < means[2]
    assert means[2] == pytest.approx(1.0)


def test_the_mean_counts_shells_by_their_surface() -> None:
    curve = torch.tensor([9.0, 1.0, 0.0, 9.0])
    assert holdout.mean_score(curve, torch.tensor([True, True, True, False])) == pytest.approx(0.2)
    assert math.isnan(holdout.mean_score(curve, torch.zeros(4, dtype=torch.bool)))


def test_the_truth_is_estimated_from_the_other_half(pair: phantom.PhantomPair, held_out: holdout.HeldOut) -> None:
    halves, spoilt = (pair.half1, pair.half2), (held_out.half1, held_out.half2)
    shells = torch.zeros(N // 2 + 1, dtype=torch.bool)
    shells[USED] = True
    cone = holdout.Cone(X, 20.0)
    for maps in (spoilt, halves, (pair.truth, pair.truth)):
        exact = sum(holdout.score(one, pair.truth, cone, pair.mask) for one in maps) / 2
        estimated = holdout.truth_estimate(maps, halves, cone, pair.mask)
        told = shells & estimated.isfinite()
        assert holdout.mean_score(estimated, told) == pytest.approx(holdout.mean_score(exact, told), abs=0.06)


def test_the_noise_that_is_left_in_spoilt_halves_does_not_count(
    pair: phantom.PhantomPair, held_out: holdout.HeldOut
) -> None:
    """Against the mean as measured a half that was only spoilt looks better than it is: it still holds its noise."""
    cone = holdout.Cone(X, 20.0)
    shells = torch.zeros(N // 2 + 1, dtype=torch.bool)
    shells[8:14] = True
    spoilt = (held_out.half1, held_out.half2)
    exact = holdout.mean_score(holdout.score(spoilt[0], pair.truth, cone, pair.mask), shells)
    mean = (pair.half1 + pair.half2) / 2
    shared = holdout.mean_score(holdout.score(spoilt[0], mean, cone, pair.mask), shells)
    apart = holdout.mean_score(holdout.truth_estimate(spoilt, (pair.half1, pair.half2), cone, pair.mask), shells)
    assert abs(apart - exact) < abs(shared - exact)


def test_shells_in_which_there_is_no_telling_do_not_count() -> None:
    curve = torch.tensor([9.0, 1.0, math.nan, 9.0])
    assert holdout.mean_score(curve, torch.tensor([False, True, True, False])) == 1.0
