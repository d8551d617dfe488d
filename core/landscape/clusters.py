"""Clusters of latents by k-means, each with a particle as its centre, numbered so that neighbours have near numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage

from .components import Numbers, nearest

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

    Raises
    ------
    ValueError
        If there are fewer different points than clusters.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    if len(np.unique(points, axis=0)) < count:
        raise ValueError(f"{count} clusters of {len(np.unique(points, axis=0))} different points")
    if len(points) > _MINI_BATCH_ABOVE:
        method = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=8192)
    else:
        method = KMeans(count, random_state=seed, n_init=1)
    found = method.fit(points)
    means, labels = np.asarray(found.cluster_centers_, np.float64), np.asarray(found.labels_, np.int64)
    order = hierarchical_order(means)
    rank = np.argsort(order)
    labels = rank[labels]
    centres = np.empty(count, np.int64)
    for number in range(count):
        members = np.flatnonzero(labels == number)
        # A mean that no point is nearest to any more, as batches may leave one, has the point nearest to it.
        pool = members if len(members) else np.arange(len(points))
        centres[number] = pool[nearest(points[pool], means[order[number]][None])[0]]
    return Clusters(labels, centres, np.bincount(labels, minlength=count).astype(np.int64))


def hierarchical_order(points: Numbers) -> Labels:
    """The order (K,) of points (K, d) as the leaves of a tree of average linkage, neighbours as near as can be."""
    if len(points) < 3:
        return np.arange(len(points), dtype=np.int64)
    return np.asarray(leaves_list(linkage(points, "average", optimal_ordering=True)), np.int64)
