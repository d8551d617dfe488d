"""The simulated pairs have the properties that the truth tests build on."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.fourier.correlation import fsc
from cryobridge.core.fourier.transforms import apply_filter
from cryobridge.core.volume.phantom import cone_regions, phantom_pair, truth_score


def test_full_sampling_reaches_the_resolution_asked_for() -> None:
    pair = phantom_pair(40, 2.0, 6.0, inside=1.0)
    curve = fsc(pair.half1, pair.half2, pair.mask)
    shell = round(40 * 2.0 / 6.0)
    assert float(curve[shell - 1 : shell + 2].mean()) == pytest.approx(0.143, abs=0.08)


def test_the_cone_is_worse_than_the_rest_and_the_truth_is_perfect() -> None:
    pair = phantom_pair(40)
    inside, outside = cone_regions(pair)
    assert not bool((inside & outside).any())
    assert truth_score(pair, pair.half1, inside) < truth_score(pair, pair.half1, outside) - 0.2
    assert truth_score(pair, pair.truth, inside) == pytest.approx(1.0, abs=1e-6)


def test_gain_is_a_gain_and_makes_the_standard_map() -> None:
    pair = phantom_pair(32)
    assert float(pair.gain.min()) >= 0
    assert float(pair.gain.max()) < 1
    assert torch.equal(pair.standard1, apply_filter(pair.half1, pair.gain))


def test_without_signal_the_halves_are_unrelated_noise() -> None:
    pair = phantom_pair(32, signal=0.0)
    correlation = float((pair.half1 * pair.half2).mean() / (pair.half1.std() * pair.half2.std()))
    assert abs(correlation) < 0.05


def test_a_seed_names_a_pair() -> None:
    assert torch.equal(phantom_pair(32, seed=3).half2, phantom_pair(32, seed=3).half2)
    assert not torch.equal(phantom_pair(32, seed=3).truth, phantom_pair(32, seed=4).truth)
