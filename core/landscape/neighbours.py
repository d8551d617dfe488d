"""The nearest neighbours of points."""

from __future__ import annotations

from typing import Any

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


def distinct(points: NDArray[np.floating[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The points (D,) that no earlier one of (N, d) equals, in their order, and which of these each equals, (N,).

    The images of a particle in a tilt series have one latent: as each other's neighbours they would say nothing.
    """
    # Unlike np.unique of rows, this lets other threads go on.
    order = np.lexsort(points.T[::-1])
    rows = points[order]
    begins = np.ones(len(rows), bool)
    begins[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    which = np.empty(len(rows), np.int64)
    which[order] = np.cumsum(begins) - 1
    # The sort is stable, so that the first of equal rows is the earliest.
    first = order[begins]
    return np.sort(first), np.argsort(np.argsort(first))[which]
