"""The correction against the truth: it fills a missing cone, and invents nothing where nothing is missing or there.

The promises of the method, on simulated pairs whose truth is known. Small networks, few steps, fixed seeds.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cryobridge.core.correction import CorrectionState, predict, train
from cryobridge.core.correction.posterior import fill, plausible
from cryobridge.core.fourier.correlation import fsc
from cryobridge.core.fourier.shells import shell_counts
from cryobridge.core.fourier.transforms import apply_filter
from cryobridge.core.volume.phantom import PhantomPair, cone_regions, phantom_pair, truth_score
from cryobridge.schemas.correction import CorrectionOptions

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def _options(**chosen: Any) -> CorrectionOptions:
    return CorrectionOptions.for_device("cpu", **{"steps": 60, **chosen})


def _corrected(pair: PhantomPair, options: CorrectionOptions) -> tuple[list[Tensor], list[Tensor]]:
    """Filled maps and the network's maps of both halves."""
    state = CorrectionState.new(options, "cpu")
    for report in train(state, pair.half1, pair.half2, pair.gain, pair.mask, options):
        assert report.loss > 0
    networks = [
        predict(state, which, half, pair.gain, pair.mask, options) for which, half in ((1, pair.half1), (2, pair.half2))
    ]
    standards = (pair.standard1, pair.standard2)
    filled = [fill(s, v, pair.gain, pair.mask) for s, v in zip(standards, networks, strict=True)]
    assert all(plausible(f, s) is None for f, s in zip(filled, standards, strict=True))
    return filled, networks


def _scores(pair: PhantomPair, maps: list[Tensor], region: Tensor | None = None) -> float:
    return sum(truth_score(pair, volume, region) for volume in maps) / len(maps)


@pytest.mark.parametrize("mode", ["shared", "independent"])
def test_a_missing_cone_is_filled_and_the_rest_is_not_harmed(mode: str) -> None:
    pair = phantom_pair()
    inside, outside = cone_regions(pair)
    filled, _ = _corrected(pair, _options(mode=mode))
    standard = [pair.standard1, pair.standard2]
    assert _scores(pair, filled, inside) > _scores(pair, standard, inside) + 0.1
    assert _scores(pair, filled, outside) > _scores(pair, standard, outside) - 0.01


def test_an_isotropic_pair_changes_by_less_than_its_noise() -> None:
    pair = phantom_pair(inside=1.0)
    filled, _ = _corrected(pair, _options())
    standard = [pair.standard1, pair.standard2]
    assert _scores(pair, filled) > _scores(pair, standard) - 0.01
    # Where signal outweighs noise, what is added is less than the noise that is there anyway.
    measured = (pair.gain > 0.5).float()
    noise = apply_filter(standard[0] - standard[1], measured).std() / 2**0.5
    for before, after in zip(standard, filled, strict=True):
        assert float(apply_filter(after - before, measured).std()) < float(noise)


def test_independent_halves_of_pure_noise_stay_uncorrelated() -> None:
    pair = phantom_pair(signal=0.0)
    filled, networks = _corrected(pair, _options(mode="independent"))
    n = pair.truth.shape[-1]
    # A shell of so many independent values has this much correlation by chance (three standard deviations).
    chance = 3 / (shell_counts(n) / 2).sqrt()
    measured = torch.arange(n // 2 + 1) <= n * pair.voxel_size_A / pair.resolution_A
    for first, second in (filled, networks):
        curve = fsc(first, second)
        assert bool((curve < torch.maximum(chance, torch.tensor(0.143)))[1:][measured[1:]].all()), curve
