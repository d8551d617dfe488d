"""The nearest neighbours of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Points = NDArray[np.float64]


def neighbours(points: Points, count: int, targets: Points | None = None) -> tuple[Points, NDArray[np.int64]]:
    """Distances and numbers (K, count) of the points (N, d) nearest to targets (K, d), the nearest first.

    Without targets, of those nearest to each point, itself not counted.
    """
    tree = cKDTree(points)
    if targets is not None:
        found = tree.query(targets, list(range(1, count + 1)))
    else:
        found = tree.query(points, list(range(2, count + 2)))
    return np.asarray(found[0], np.float64), np.asarray(found[1], np.int64)
