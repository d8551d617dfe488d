"""Ways through a latent space: straight between anchors, or from particle to particle where there are particles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .components import Numbers
from .neighbours import neighbours


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
    """

    members: NDArray[np.int64]
    length: float
    longest_edge: float


def direct_path(anchors: Numbers, between: int, *, loop: bool = False) -> Numbers:
    """Straight lines through anchors (A, d), with `between` points between two of them, the anchors included."""
    ends = np.concatenate([anchors, anchors[:1]]) if loop else np.asarray(anchors)
    steps = np.linspace(0, 1, between + 2)[:-1, None]
    lines = [start + steps * (end - start) for start, end in itertools.pairwise(ends)]
    return np.concatenate([*lines, ends[-1:]]).astype(np.float64)


def graph_path(
    points: Numbers, anchors: Sequence[int], *, most_neighbours: int = 10, average_neighbours: float = 5.0
) -> GraphPath:
    """The shortest way through anchors, in their order, along edges of a neighbour graph of points (N, d).

    An edge joins a point to one of its `most_neighbours` nearest, if it is no longer than the distance at which
    points have `average_neighbours` edges on average; so the way avoids what is empty.

    Raises
    ------
    ValueError
        If an anchor cannot be reached from the one before it. The message says which.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    most = min(most_neighbours, len(points) - 1)
    distances, members = neighbours(points, most)
    wanted = min(math.ceil(average_neighbours * len(points)), distances.size)
    cut = float(np.partition(distances.ravel(), wanted - 1)[wanted - 1])
    rows, columns = np.nonzero(distances <= cut)
    # Points at the same place are joined too: a sparse matrix would take an edge of length 0 for none.
    lengths = np.maximum(distances[rows, columns], 1e-12)
    graph = csr_array((lengths, (rows, members[rows, columns])), shape=(len(points),) * 2)
    way, total = [int(anchors[0])], 0.0
    for start, end in itertools.pairwise(anchors):
        reached, before = dijkstra(graph, directed=False, indices=[int(start)], return_predecessors=True)
        if not np.isfinite(reached[0, end]):
            raise ValueError(f"particle {end} cannot be reached from particle {start}")
        leg = [int(end)]
        while leg[-1] != start:
            leg.append(int(before[0, leg[-1]]))
        way += leg[::-1][1:]
        total += float(reached[0, end])
    return GraphPath(np.array(way, np.int64), total, cut)
