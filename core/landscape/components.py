"""Principal components of latents, with signs that do not change between runs of the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .neighbours import neighbours

Numbers = NDArray[np.float64]

LOW_PERCENTILE, HIGH_PERCENTILE = 5.0, 95.0


@dataclass(frozen=True)
class Components:
    """Principal components of points in d dimensions, the largest first.

    Attributes
    ----------
    mean
        (d,).
    axes
        (K, d), of length 1.
    variances, shares
        (K,) of the points along each, and as a share of all of it.
    """

    mean: Numbers
    axes: Numbers
    variances: Numbers
    shares: Numbers

    def scores(self, points: Numbers) -> Numbers:
        """Coordinates (N, K) of points (N, d)."""
        result: Numbers = (points - self.mean) @ self.axes.T
        return result

    def points(self, scores: Numbers) -> Numbers:
        """The points (N, d) that have these coordinates (N, K)."""
        result: Numbers = self.mean + scores @ self.axes
        return result


def principal_components(points: Numbers, weights: Numbers | None = None) -> Components:
    """Components of points (N, d), each counted as often as its weight (N,) says.

    Of each axis the largest entry is positive, so that the same latents give the same pictures.
    """
    values = np.asarray(points, np.float64)
    counted = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    counted = counted / counted.sum()
    mean = counted @ values
    centred = values - mean
    found, vectors = np.linalg.eigh((centred * counted[:, None]).T @ centred)
    variances, axes = np.maximum(found[::-1], 0.0), vectors[:, ::-1].T
    return Components(mean, axes * signs(axes)[:, None], variances, variances / max(float(variances.sum()), 1e-300))


def signs(axes: Numbers) -> Numbers:
    """1 or -1 for each of some axes (K, d): what makes its largest entry positive."""
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)[:, 0]
    result: Numbers = np.where(largest < 0, -1.0, 1.0)
    return result


def traversal(components: Components, points: Numbers, component: int, count: int, *, even: bool = True) -> Numbers:
    """Points (count, d) along a component through the mean, between its 5th and 95th percentile among points (N, d).

    Parameters
    ----------
    component
        From 0 on.
    even
        Whether they are evenly spaced; otherwise each has as many particles between it and the next.
    """
    along = components.scores(points)[:, component]
    share = np.linspace(LOW_PERCENTILE, HIGH_PERCENTILE, count) if count > 1 else np.array([50.0])
    places = np.percentile(along, share)
    if even and count > 1:
        places = np.linspace(places[0], places[-1], count)
    scores = np.zeros((count, len(components.axes)))
    scores[:, component] = places
    return components.points(scores)


def nearest(points: Numbers, targets: Numbers) -> NDArray[np.int64]:
    """Which of points (N, d) lies nearest to each target (K, d), (K,)."""
    return neighbours(points, 1, targets)[1][:, 0]
