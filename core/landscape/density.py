"""How densely particles lie about each of them."""

from __future__ import annotations

import numpy as np

from .components import Numbers
from .neighbours import distinct, neighbours

_NEIGHBOURS = 20


def log_density(points: Numbers, neighbour: int = _NEIGHBOURS) -> Numbers:
    """Logarithm of the density (N,) about each of points (N, d), to a constant: -d ln(distance to the k-th neighbour).

    Points at one place count once there, and have one density; it is 0 if all are at one place.

    References
    ----------
    Loftsgaarden & Quesenberry 1965, doi 10.1214/aoms/1177700079.
    """
    first, which = distinct(points)
    if len(first) < 2:
        return np.zeros(len(points))
    distances = neighbours(points[first], min(neighbour, len(first) - 1))[0][:, -1]
    result: Numbers = (-points.shape[1] * np.log(np.maximum(distances, 1e-12)))[which]
    return result


def rank_correlation(first: Numbers, second: Numbers) -> float:
    """Spearman's correlation of two columns (N,), over the rows where both are known; 0 where one does not vary."""
    from scipy.stats import rankdata

    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < 3:
        return 0.0
    ranks = [rankdata(column[known]) for column in (first, second)]
    if min(float(np.ptp(rank)) for rank in ranks) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
