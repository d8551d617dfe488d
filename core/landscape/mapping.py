"""Coordinates among volumes for every particle, learned from the latents of those whose volumes were made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .components import Numbers

Fit = Literal["linear", "quadratic", "network"]

_HELD_OUT = 5
"""One in so many is kept out, to judge by."""
_FEWEST_FOR_NETWORK = 100
_HIDDEN = (64, 64)
_FEWEST_HELD_OUT = 10


@dataclass(frozen=True)
class ScoreMap:
    """A map from latents to coordinates among volumes.

    Attributes
    ----------
    scores
        (N, K) of every particle.
    fit
        The way that told most of what was kept out.
    held_out_r2
        (K,) share of the variance of each coordinate that it told of volumes kept out of the fit; NaN where there were
        too few to keep any out.
    """

    scores: Numbers
    fit: Fit
    held_out_r2: Numbers


def mapped(latents: Numbers, scores: Numbers, every: Numbers, seed: int = 0) -> ScoreMap:
    """Map the latents `every` (N, d) as latents (V, d) of volumes go with their coordinates (V, K).

    A linear map, a quadratic one and a small network are tried, and the one that is best on a fifth that was kept out
    is fitted again to all. With fewer than ten volumes to keep out the map is linear.
    """
    if len(latents) < _HELD_OUT * _FEWEST_HELD_OUT:
        return ScoreMap(_predicted("linear", seed, latents, scores)(every), "linear", np.full(scores.shape[1], np.nan))
    order = np.random.default_rng(seed).permutation(len(latents))
    kept_out, used = order[::_HELD_OUT], np.setdiff1d(order, order[::_HELD_OUT])
    ways: list[Fit] = ["linear", "quadratic"]
    if len(used) >= _FEWEST_FOR_NETWORK:
        ways.append("network")
    told = {}
    for way in ways:
        predicted = _predicted(way, seed, latents[used], scores[used])(latents[kept_out])
        told[way] = _explained(scores[kept_out], predicted)
    spread = scores[kept_out].var(axis=0)
    best = max(ways, key=lambda way: float((told[way] * spread).sum()))
    return ScoreMap(_predicted(best, seed, latents, scores)(every), best, told[best])


def _predicted(way: Fit, seed: int, latents: Numbers, scores: Numbers) -> Callable[[Numbers], Numbers]:
    """A map that was fitted in one of the ways, both sides in units of their spread."""
    from sklearn.linear_model import Ridge
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    centre, scale = scores.mean(axis=0), np.maximum(scores.std(axis=0), 1e-30)
    steps: dict[Fit, list[Any]] = {
        "linear": [Ridge(1e-3)],
        "quadratic": [PolynomialFeatures(2, include_bias=False), StandardScaler(), Ridge(1e-2)],
        "network": [
            MLPRegressor(hidden_layer_sizes=(64, 64), alpha=1e-3, max_iter=400, early_stopping=True, random_state=seed)
        ],
    }
    # A single coordinate is a list to the network, not a table of one column.
    wanted = ((scores - centre) / scale).squeeze()
    model = make_pipeline(StandardScaler(), *steps[way]).fit(latents, wanted)

    def predict(points: Numbers) -> Numbers:
        found = np.asarray(model.predict(points), np.float64).reshape(len(points), scores.shape[1])
        result: Numbers = found * scale + centre
        return result

    return predict


def _explained(true: Numbers, predicted: Numbers) -> Numbers:
    """Share of the variance (K,) that is told; negative where the mean would tell more."""
    missed = ((true - predicted) ** 2).sum(axis=0)
    result: Numbers = 1 - missed / np.maximum(((true - true.mean(axis=0)) ** 2).sum(axis=0), 1e-300)
    return result
