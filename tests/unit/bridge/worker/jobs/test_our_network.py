"""The network that comes with the program: small, whole, and worth starting from; it invents nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from cryobridge.bridge.worker.jobs.pretrained import OURS, pretrained_network
from cryobridge.core.correction import Finish, Plan, ReadyPair, finished, predict_steps, prepare
from cryobridge.core.fourier import fsc
from cryobridge.core.volume import PhantomPair, cone_regions, phantom_pair, truth_score
from cryobridge.schemas.kinds.map.correct import CorrectOptions

OPTIONS = CorrectOptions(effort="quick").network_options("cpu")
MOST_BYTES = 2_000_000


def corrected(ready: ReadyPair) -> list[Tensor]:
    """Both maps of the untouched network."""
    state = pretrained_network().started(OPTIONS, "cpu")
    maps = []
    for half, start in enumerate(ready.sight.starts, 1):
        *_, found = predict_steps(state, half, start, ready.sight, OPTIONS)
        assert found is not None
        maps.append(finished(ready, half, found, Finish(prior_variance=CorrectOptions().prior_variance)))
    return maps


def ready_pair(pair: PhantomPair) -> ReadyPair:
    return prepare((pair.half1, pair.half2), pair.mask, pair.voxel_size_A, Plan(pair.resolution_A, level=True))


def test_it_is_small_enough_to_live_in_the_repository() -> None:
    assert OURS.stat().st_size < MOST_BYTES


def test_untouched_it_brings_a_pair_nearer_to_the_truth_in_and_out_of_the_cone() -> None:
    """An independent phantom of another generator than it learned from; the control is the filtered input."""
    pair = phantom_pair(48, seed=3)
    ready = ready_pair(pair)
    first, second = corrected(ready)
    cone, rest = cone_regions(pair)
    after, filtered = (first + second) / 2, (ready.standards[0] + ready.standards[1]) / 2
    for region, gain in ((cone, 0.08), (rest, 0.02), (None, 0.05)):
        assert truth_score(pair, after, region) > truth_score(pair, filtered, region) + gain


def test_an_isotropic_pair_does_not_get_worse() -> None:
    pair = phantom_pair(48, inside=1.0, seed=4)
    first, second = corrected(ready_pair(pair))
    assert truth_score(pair, (first + second) / 2) > truth_score(pair, (pair.half1 + pair.half2) / 2)


def test_of_two_noises_it_makes_nothing_that_both_share() -> None:
    pair = phantom_pair(48, signal=0.0)
    first, second = corrected(ready_pair(pair))
    assert abs(float(fsc(first, second, pair.mask)[3:18].mean())) < 0.15


def test_where_nothing_is_measured_nothing_is_put() -> None:
    """A direction without any data stays empty where F is 0: the network's own idea has no scale there."""
    pair = phantom_pair(48)
    plan = Plan(pair.resolution_A, level=True, given_fraction=torch.zeros_like(pair.gain))
    ready = prepare((pair.half1, pair.half2), pair.mask, pair.voxel_size_A, plan)
    assert float(ready.sight.seen(ready.sight.starts[0]).abs().max()) == 0
