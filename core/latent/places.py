"""Which latents to look at: along a line, on a grid, and how near to those of particles they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from ..landscape import distinct

_SAMPLED = 4000
"""Particles by which the usual distance between neighbours is told."""
_EDGE = 99.0
"""Percentile of the distances between particles, from which on a latent lies off the data."""

_QUANTILE_OF = 1_000_000
"""Values that a quantile is taken of; torch refuses many more."""


@dataclass(frozen=True)
class Ends:
    """One axis of a grid: which, from 0 on, its ends, whether they are percentiles of the particles, and its points."""

    axis: int
    low: float
    high: float
    in_percent: bool
    count: int


@dataclass(frozen=True)
class Nearness:
    """How near to particles K latents are.

    nearest
        (K,) the nearest particle of each.
    distance
        (K,) from it.
    usual, edge
        Distance from a particle to its nearest other that lies elsewhere: the median, and what one in a hundred
        exceeds; 0 where all lie at one place.
    within_edge
        (K,) particles no farther than the edge.
    """

    nearest: NDArray[np.int64]
    distance: NDArray[np.float64]
    usual: float
    edge: float
    within_edge: NDArray[np.int64]

    @property
    def off_data(self) -> NDArray[np.bool_]:
        """(K,) whether a latent is farther from every particle than all but one in a hundred are from each other."""
        off: NDArray[np.bool_] = self.distance > self.edge
        return off


def latent_line(start: Tensor, end: Tensor, count: int) -> Tensor:
    """Latents (count, zdim) at equal steps from one (zdim,) to another, both included."""
    along = torch.linspace(0.0, 1.0, count, dtype=torch.float64)[:, None]
    return (start.double() * (1 - along) + end.double() * along).float()


def latent_grid(latents: Tensor, axes: Sequence[Ends], *, components: bool) -> Tensor:
    """Latents (K, zdim) at every point of a grid, the last axis fastest, the others at the particles' mean.

    Parameters
    ----------
    latents
        (N, zdim) of the particles.
    components
        Whether the axes are principal components of these, with 0 at their mean, or numbers of the latent.

    Raises
    ------
    ValueError
        If there is no such axis.
    """
    mean = latents.double().mean(dim=0)
    directions = principal_components(latents) if components else torch.eye(len(mean), dtype=torch.float64)
    centre = torch.zeros_like(mean) if components else mean
    scores = (latents.double() - (mean - centre)) @ directions.T
    points = []
    for ends in axes:
        if ends.axis >= len(directions):
            raise ValueError(f"there is no axis {ends.axis + 1} of latents of {len(mean)} numbers")
        limits = torch.tensor([ends.low, ends.high], dtype=torch.float64)
        if ends.in_percent:
            limits = torch.quantile(_some(scores[:, ends.axis]), limits / 100)
        points.append(torch.linspace(float(limits[0]), float(limits[1]), ends.count, dtype=torch.float64))
    found = mean.repeat(int(np.prod([len(one) for one in points])), 1)
    for ends, values in zip(axes, torch.cartesian_prod(*points).reshape(-1, len(points)).T, strict=True):
        found += (values - centre[ends.axis])[:, None] * directions[ends.axis]
    return found.float()


def principal_components(latents: Tensor) -> Tensor:
    """Directions (zdim, zdim) of latents (N, zdim), rows by falling variance, float64.

    The sign of each is so that its largest number is positive, so that it is the same from run to run.
    """
    centred = latents.double() - latents.double().mean(dim=0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    rows = vectors.flip(1).T
    largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
    directed: Tensor = rows * torch.sign(largest)
    return directed


def nearness(latents: NDArray[np.float32], particles: NDArray[np.float32]) -> Nearness:
    """How near latents (K, zdim) are to those of two particles or more (N, zdim), by Euclid's distance."""
    tree = cKDTree(particles)
    distance, nearest = tree.query(latents)
    others = _to_others(particles)
    edge = float(np.percentile(others, _EDGE))
    within = tree.query_ball_point(latents, edge, return_length=True)
    return Nearness(
        np.asarray(nearest, np.int64),
        np.asarray(distance, np.float64),
        float(np.median(others)),
        edge,
        np.asarray(within, np.int64),
    )


def _to_others(particles: NDArray[np.float32]) -> NDArray[np.float64]:
    """Distances from some of particles (N, zdim) to the nearest that lies elsewhere.

    The images of a particle in a tilt series lie at one place, and count once.
    """
    places = particles[distinct(particles)[0]]
    if len(places) < 2:
        return np.zeros(1)
    sample = places[:: max(1, len(places) // _SAMPLED)]
    return np.asarray(cKDTree(places).query(sample, k=2)[0], np.float64)[:, 1]


def _some(values: Tensor) -> Tensor:
    """No more values than a quantile of torch takes, from all over them."""
    return values[:: -(-len(values) // _QUANTILE_OF)]
