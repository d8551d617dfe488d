"""How alike two sets of latents of the same particles are: those of two epochs, or of two runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .clusters import k_means
from .components import Numbers, principal_components
from .neighbours import distinct, neighbours

_CLUSTERS = 8
_SAMPLE = 20_000


@dataclass(frozen=True)
class LatentAgreement:
    """Two sets of latents compared; 1 is the same in every number, whatever the turn or scale between them.

    Attributes
    ----------
    canonical
        (K,) canonical correlations, the largest first: what a linear map of one can say of the other.
    procrustes
        Share of the variance that a turn, a shift and one scale bring over.
    neighbours
        Share of the nearest neighbours that stay nearest neighbours, among particles that differ in either set; 1
        where none do.
    labels
        Adjusted Rand index of k-means clusters of both.
    """

    canonical: Numbers
    procrustes: float
    neighbours: float
    labels: float


@dataclass(frozen=True)
class LinearMap:
    """A map from one latent space into another, z @ matrix + offset, and how much of the other's variance it tells."""

    matrix: Numbers
    offset: Numbers
    explained: float

    def __call__(self, latents: Numbers) -> Numbers:
        """Latents (N, d) in the other space (N, e)."""
        result: Numbers = latents @ self.matrix + self.offset
        return result


def agreement(first: Numbers, second: Numbers, nearest: int = 15, seed: int = 0) -> LatentAgreement:
    """Compare latents (N, d) and (N, e) of the same particles; of very many a sample that `seed` draws."""
    if len(first) > _SAMPLE:
        drawn = np.sort(np.random.default_rng(seed).choice(len(first), _SAMPLE, replace=False))
        first, second = first[drawn], second[drawn]
    one, two = first - first.mean(axis=0), second - second.mean(axis=0)
    canonical = np.linalg.svd(_whitened(one).T @ _whitened(two), compute_uv=False)
    return LatentAgreement(
        np.clip(canonical, 0.0, 1.0), _procrustes(one, two), _overlap(one, two, nearest), _rand(one, two, seed)
    )


def linear_map(first: Numbers, second: Numbers) -> LinearMap:
    """The least-squares map of latents (N, d) onto those (N, e) of another run of the same particles."""
    means = first.mean(axis=0), second.mean(axis=0)
    one, two = first - means[0], second - means[1]
    matrix, *_ = np.linalg.lstsq(one, two, rcond=None)
    missed = float(((two - one @ matrix) ** 2).sum() / max(float((two**2).sum()), 1e-300))
    return LinearMap(matrix, means[1] - means[0] @ matrix, 1 - missed)


def _whitened(centred: Numbers) -> Numbers:
    """An orthonormal basis of the columns, those without variance left out."""
    basis, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    kept: Numbers = basis[:, sizes > 1e-10 * max(float(sizes.max(initial=0.0)), 1e-300)]
    return kept


def _procrustes(one: Numbers, two: Numbers) -> float:
    """Share of the variance: the square of the nuclear norm of the cross-product over both norms."""
    size = np.linalg.norm(one) * np.linalg.norm(two)
    return float(np.linalg.svd(one.T @ two, compute_uv=False).sum() / max(float(size), 1e-300)) ** 2


def _overlap(one: Numbers, two: Numbers, most: int) -> float:
    """Share of the neighbours; of rows that are the same in both, as a tilt series has them, one is taken."""
    members, _ = distinct(np.concatenate([one, two], axis=1))
    count = min(most, len(members) - 1)
    if count == 0:
        return 1.0
    found = [neighbours(points[members], count)[1] for points in (one, two)]
    both = np.concatenate(found, axis=1)
    both.sort(axis=1)
    return float((both[:, 1:] == both[:, :-1]).sum() / (count * len(members)))


def _rand(one: Numbers, two: Numbers, seed: int) -> float:
    from sklearn.metrics import adjusted_rand_score

    fewest = min(len(np.unique(points, axis=0)) for points in (one, two))
    count = min(_CLUSTERS, fewest)
    axes = [principal_components(points).scores(points) for points in (one, two)]
    return float(adjusted_rand_score(*(k_means(points, count, seed).labels for points in axes)))
