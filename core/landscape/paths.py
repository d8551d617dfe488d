"""Ways through a latent space: straight between anchors, or from particle to particle where there are particles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .components import Numbers
from .neighbours import distinct, neighbours

_USUAL_AVERAGE = 5


@dataclass(frozen=True)
class GraphPath:
    """A way along the edges of a neighbour graph.

    Attributes
    ----------
    members
        (P,) which points it goes through, the anchors among them.
    length
        Of all its edges.
    longest_edge
        The longest edge that the graph has.
    average_neighbours
        Edges of a point in the graph, on average, one way.
    """

    members: NDArray[np.int64]
    length: float
    longest_edge: float
    average_neighbours: float


def direct_path(anchors: Numbers, between: int, *, loop: bool = False) -> Numbers:
    """Straight lines through anchors (A, d), with `between` points between two of them, the anchors included."""
    ends = np.concatenate([anchors, anchors[:1]]) if loop else np.asarray(anchors)
    steps = np.linspace(0, 1, between + 2)[:-1, None]
    lines = [start + steps * (end - start) for start, end in itertools.pairwise(ends)]
    return np.concatenate([*lines, ends[-1:]]).astype(np.float64)


def graph_path(
    points: Numbers, anchors: Sequence[int], *, most_neighbours: int = 10, average_neighbours: float | None = None
) -> GraphPath:
    """The shortest way through anchors, in their order, along edges of a neighbour graph of points (N, d).

    An edge joins a point to one of its `most_neighbours` nearest, if it is no longer than the distance at which
    points have `average_neighbours` edges on average; so the way avoids what is empty. Points at one place, as the
    images of a particle in a tilt series have it, are one: none but an anchor is gone through beside another.

    Parameters
    ----------
    average_neighbours
        If None, 5, or as many more as it takes to reach every anchor.

    Raises
    ------
    ValueError
        If an anchor cannot be reached from the one before it, the message says which; or if all points lie at one
        place.
    """
    first, which = distinct(points)
    if len(first) < 2:
        raise ValueError("all points lie at one place")
    most = min(most_neighbours, len(first) - 1)
    near = neighbours(points[first], most)
    averages = _tried(most) if average_neighbours is None else [average_neighbours]
    for average in averages:
        try:
            return _shortest(*near, (first, which), anchors, average)
        except ValueError:
            if average == averages[-1]:
                raise
    raise ValueError("no neighbours to go to")


def _tried(most: int) -> list[float]:
    """Averages from the usual one on, up to where nothing is left out."""
    return [float(average) for average in range(min(_USUAL_AVERAGE, most), most + 1)]


def _shortest(
    distances: Numbers,
    members: NDArray[np.int64],
    places: tuple[NDArray[np.int64], NDArray[np.int64]],
    anchors: Sequence[int],
    average: float,
) -> GraphPath:
    """The way in the graph of one average, from distances (D, k) of nearest neighbours (D, k) of distinct places."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    (first, which), count = places, len(distances)
    wanted = min(math.ceil(average * count), distances.size)
    cut = float(np.partition(distances.ravel(), wanted - 1)[wanted - 1])
    rows, columns = np.nonzero(distances <= cut)
    graph = csr_array((distances[rows, columns], (rows, members[rows, columns])), shape=(count, count))
    way, total = [int(anchors[0])], 0.0
    for start, end in pairwise(anchors):
        source, goal = int(which[start]), int(which[end])
        reached, before = dijkstra(graph, directed=False, indices=[source], return_predecessors=True)
        if not np.isfinite(reached[0, goal]):
            raise ValueError(f"particle {end} cannot be reached from particle {start}")
        leg = [goal]
        while leg[-1] != source:
            leg.append(int(before[0, leg[-1]]))
        # What was asked for stands at both ends, though an earlier one may lie at the same place.
        way += [*first[leg[-2:0:-1]].tolist(), *([int(end)] if end != start else [])]
        total += float(reached[0, goal])
    return GraphPath(np.array(way, np.int64), total, cut, average)
