"""How much maps of one thing differ: their mean and spread, one map at a time."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def mean_and_spread(maps: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean of maps (n, n, n) and their standard deviation in each voxel, with no more than one of them held at a time.

    Parameters
    ----------
    maps
        At least two of one shape, real, on one scale: for example the corrections of one pair of half-maps by networks
        that began with different seeds.

    Returns
    -------
    mean, spread
        In the shape of the maps, float32; the spread is that of a sample (divided by the count less one). Both are
        summed in float64, by Welford's method (Technometrics 4, 419, 1962), so that a large mean does not cost the
        spread its digits.

    Raises
    ------
    ValueError
        If there are fewer than two maps, or their shapes differ.
    """
    count = 0
    mean = squares = torch.empty(0)
    for volume in maps:
        count += 1
        if count == 1:
            mean, squares = volume.double().clone(), torch.zeros_like(volume, dtype=torch.float64)
            continue
        if volume.shape != mean.shape:
            raise ValueError(f"maps differ in shape: {tuple(mean.shape)} and {tuple(volume.shape)}")
        change = volume.double() - mean
        mean += change / count
        squares += change * (volume.double() - mean)
    if count < 2:
        raise ValueError(f"the spread of maps needs at least two, got {count}")
    return mean.float(), (squares / (count - 1)).sqrt().float()
