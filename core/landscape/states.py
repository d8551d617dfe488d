"""States: volumes that are alike, the particles that belong to them, and the mean and spread of each."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from .clusters import Labels
from .components import Numbers

Linkage = Literal["average", "ward", "complete", "single"]


def states_of(scores: Numbers, weights: Numbers, count: int, method: Linkage = "average") -> Labels:
    """The state (N,) of each volume by its coordinates (N, K) among volumes, from 0 on: 0 has the most particles.

    Agglomerative clustering cut at `count` states; there are fewer where volumes do not differ.

    Parameters
    ----------
    weights
        (N,) particles of each volume.
    """
    if len(scores) < 2:
        return np.zeros(len(scores), np.int64)
    raw = fcluster(linkage(scores, method), min(count, len(scores)), "maxclust") - 1
    particles = np.bincount(raw, weights=weights)
    rank = np.argsort(np.argsort(-particles, kind="stable"), kind="stable")
    return rank[raw].astype(np.int64)


class StateMaps:
    """Mean and standard deviation of the volumes of each state, weighted by their particles, as volumes come along.

    The spread is that between the volumes of a state: what the state hides, not the error of its mean.
    """

    def __init__(self, count: int) -> None:
        self._weight = [0.0] * count
        self._mean: list[Tensor | None] = [None] * count
        self._squares: list[Tensor | None] = [None] * count

    def add(self, volume: Tensor, state: int, weight: float) -> None:
        """Add a volume (n, n, n) of `weight` particles.

        By the update of West 1979, doi 10.1145/359146.359153, which loses no digits to a large mean.
        """
        values = volume.double() if volume.device.type == "cpu" else volume.float()
        before, squares = self._mean[state], self._squares[state]
        if before is None or squares is None:
            self._mean[state], self._squares[state] = values.clone(), torch.zeros_like(values)
            self._weight[state] = weight
            return
        total = self._weight[state] + weight
        change = values - before
        mean = before + change * (weight / total)
        self._squares[state] = squares + weight * change * (values - mean)
        self._mean[state], self._weight[state] = mean, total

    def maps(self, state: int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (n, n, n), float32.

        Raises
        ------
        ValueError
            If the state has no volume.
        """
        mean, squares = self._mean[state], self._squares[state]
        if mean is None or squares is None:
            raise ValueError(f"state {state} has no volume")
        return mean.float(), (squares / self._weight[state]).clamp(min=0).sqrt().float()
