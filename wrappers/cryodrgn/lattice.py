"""The order of Fourier pixels in cryoDRGN's encoders, against that of a half disc.

Its images are Hartley transforms on a lattice of (D + 1) x (D + 1) points, row by row, of which an encoder sees those
within a radius but for the origin.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.particles import HalfDisc

Indices = NDArray[np.int64]


def lattice_points(box: int, radius: float) -> Indices:
    """Whole frequencies (P, 2) in x, y of the pixels within a radius, in cycles per box, without the origin.

    Rounding to float32 decides of those at the radius, as it does there.
    """
    half = box // 2
    whole = np.arange(-half, half + 1)
    squares = np.square((whole / box).astype(np.float32))
    limit = np.float32((radius / half * 0.5) ** 2)
    y, x = np.nonzero((squares[:, None] + squares[None, :] <= limit) & ((whole[:, None] != 0) | (whole[None, :] != 0)))
    return np.stack([whole[x], whole[y]], axis=1)


def columns_for(disc: HalfDisc, lattice: Indices) -> Indices:
    """Where each of the lattice's points (P, 2) is among the Hartley values of a disc: (P,), -1 for those it lacks.

    The values are those at the disc's M points, then those at their mates.
    """
    points = disc.points.cpu().numpy()
    places = {(int(x), int(y)): number for number, (x, y) in enumerate(np.concatenate([points, -points]))}
    return np.array([places.get((int(x), int(y)), -1) for x, y in lattice], np.int64)


def to_disc(weights: Tensor, columns: Indices, count: int) -> Tensor:
    """Weights (h, count) of a layer on a disc's values, of those (h, P) on the lattice."""
    kept = torch.from_numpy(columns >= 0)
    found = weights.new_zeros(len(weights), count)
    found[:, torch.from_numpy(columns)[kept]] = weights[:, kept]
    return found


def to_lattice(weights: Tensor, columns: Indices) -> Tensor:
    """Weights (h, P) of a layer on the lattice, of those on a disc's values; zeros for points that the disc lacks."""
    kept = torch.from_numpy(columns >= 0)
    found = weights.new_zeros(len(weights), len(columns))
    found[:, kept] = weights[:, torch.from_numpy(columns)[kept]]
    return found
