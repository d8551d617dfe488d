"""How unequal the directions of a pair of half-maps are: cFAR, and the spread of resolution over directions.

Both are read off conical FSC curves (`correlation.conical_fsc`). Knows nothing of how the halves were made; whether an
FSC means resolution is the caller's to say.

References
----------
CryoSPARC guide, "Job: Orientation Diagnostics" (cFAR, the conical FSC area ratio). The guide describes it as a ratio of
areas under conical FSC curves, between 0 and 1, and says that values below 0.5 point to preferred orientation. So the
area here is the plain one, up to Nyquist, without weight or threshold. How far its makers integrate, what they do with
noise beyond the resolution and which mask they use could not be verified. SIMPLE's score of the same name ("FSC area
score policy", hael.github.io/SIMPLE) weights by the shells' surface and stops at 0.143: it is lower, and the threshold
of 0.5 does not belong to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_FEWEST_VOXELS = 4.0


@dataclass(frozen=True)
class DirectionSpread:
    """Resolution over directions in Angstrom; 5 % of the directions are better than `percentile_5_A`."""

    mean_A: float
    deviation_A: float
    best_A: float
    percentile_5_A: float
    median_A: float
    percentile_95_A: float
    worst_A: float


def judged(curves: Tensor, half_angle_deg: float = 20.0) -> Tensor:
    """Copy of conical FSC curves (d, n//2+1) that is 1 in the lowest shells, where a cone holds hardly a voxel.

    A double cone of half-angle t holds about 2 pi r^2 (1 - cos t) independent voxels of shell r. With fewer than four
    the FSC is the phase of one or two voxels, or of none, and no direction should be lost to that.
    """
    sparse = torch.arange(curves.shape[1], device=curves.device) < first_judged_shell(half_angle_deg)
    return torch.where(sparse, torch.ones_like(curves), curves)


def first_judged_shell(half_angle_deg: float) -> int:
    """First shell in which a double cone holds enough voxels to be judged by, see `judged`."""
    share = 2.0 * math.pi * (1.0 - math.cos(math.radians(half_angle_deg)))
    return math.ceil(math.sqrt(_FEWEST_VOXELS / share))


def cone_areas(curves: Tensor) -> Tensor:
    """Area under each curve (d, m) in shells, float64 (d,): the sum of the FSC over all shells but 0, 0 at least.

    Values below 0 count as they are, so that noise beyond the resolution comes to nothing.
    """
    return curves[:, 1:].double().sum(dim=1).clamp(min=0.0)


def cfar(curves: Tensor) -> float:
    """Conical FSC area ratio of curves (d, m): smallest over largest area, 0 to 1; 0 when no direction has any."""
    areas = cone_areas(curves)
    largest = float(areas.max())
    return float(areas.min()) / largest if largest > 0 else 0.0


def direction_spread(resolutions_A: Tensor) -> DirectionSpread:
    """Mean, standard deviation, extremes and percentiles of resolutions (d,) in Angstrom, all finite."""
    values = resolutions_A.double()
    fifth, median, last = torch.quantile(
        values, torch.tensor([0.05, 0.5, 0.95], dtype=values.dtype).to(values)
    ).tolist()
    return DirectionSpread(
        mean_A=float(values.mean()),
        deviation_A=float(values.std(correction=0)),
        best_A=float(values.min()),
        percentile_5_A=fifth,
        median_A=median,
        percentile_95_A=last,
        worst_A=float(values.max()),
    )
