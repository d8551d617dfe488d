"""Clusters of latents by k-means, each with a particle as its centre, numbered so that neighbours have near numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage

from .components import Numbers, nearest
from .neighbours import distinct

Labels = NDArray[np.int64]

_MINI_BATCH_ABOVE = 200_000
"""Points; beyond that k-means looks at batches, which changes the clusters little and the time much."""


@dataclass(frozen=True)
class Clusters:
    """Clusters of N points.

    Attributes
    ----------
    labels
        (N,) from 0 on.
    centres
        (K,) which point is the centre of each: that nearest to its mean.
    counts
        (K,) points of each.
    """

    labels: Labels
    centres: Labels
    counts: Labels


def k_means(points: Numbers, count: int, seed: int = 0) -> Clusters:
    """Cluster points (N, d) into `count` clusters, ordered by average linkage of their means.

    There are fewer where batches left a mean that no point is nearest to: every cluster has a point.

    Raises
    ------
    ValueError
        If there are fewer different points than clusters.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    different = len(distinct(points)[0])
    if different < count:
        raise ValueError(f"{count} clusters of {different} different points")
    if len(points) > _MINI_BATCH_ABOVE:
        method = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=8192)
    else:
        method = KMeans(count, random_state=seed, n_init=1)
    found = method.fit(points)
    taken, labels = np.unique(np.asarray(found.labels_, np.int64), return_inverse=True)
    means = np.asarray(found.cluster_centers_, np.float64)[taken]
    order = hierarchical_order(means)
    labels = np.argsort(order)[labels]
    centres = np.empty(len(means), np.int64)
    for number, mean in enumerate(means[order]):
        members = np.flatnonzero(labels == number)
        centres[number] = members[nearest(points[members], mean[None])[0]]
    return Clusters(labels, centres, np.bincount(labels).astype(np.int64))


def hierarchical_order(points: Numbers) -> Labels:
    """The order (K,) of points (K, d) as the leaves of a tree of average linkage, neighbours as near as can be."""
    if len(points) < 3:
        return np.arange(len(points), dtype=np.int64)
    return np.asarray(leaves_list(linkage(points, "average", optimal_ordering=True)), np.int64)
