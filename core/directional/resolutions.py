"""How far two half-maps agree by direction: the one definition of resolution by direction.

Conical FSC curves in double cones of 20 degrees half-angle about evenly spread directions, inside the mask and
corrected for it as the FSC over all directions is. A direction reaches as far as its curve is, on the whole, above
0.143: to the shell up to which the sum of (FSC - 0.143) is largest. For a curve that falls steadily this is where it
crosses 0.143; but a cone holds few voxels, and neither should one shell that is low by chance end a direction nor one
that is high by chance bring it back.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..fourier import THRESHOLD, CorrectedFsc, check_same_box, dips, fibonacci_directions, resample
from .area_ratio import DirectionSpread, cfar, cone_areas, direction_spread, judged
from .correlation import conical_fsc

HALF_ANGLE_DEG = 20.0
"""As in Tan et al. 2017, doi 10.1038/nmeth.4347."""

_DIRECTIONS = 300
_FEWEST_SHELLS = 16
_FREE_OF_PHASES = 2
"""Shells from where phases are random to where they count, as in the FSC over all directions."""


@dataclass(frozen=True)
class Directions:
    """Conical FSC curves by direction.

    vectors
        (d, 3) unit vectors z, y, x.
    curves
        (d, n // 2 + 1), 1 in the shells where a cone holds hardly a voxel.
    resolutions_A
        (d,), finite: a direction without any agreement has the box's size.
    worst, best
        Numbers of the directions with the smallest and the largest area under the curve.
    """

    vectors: Tensor
    curves: Tensor
    resolutions_A: Tensor
    worst: int
    best: int

    @property
    def cfar(self) -> float:
        """Conical FSC area ratio."""
        return cfar(self.curves)

    @property
    def spread(self) -> DirectionSpread:
        """Resolution over directions."""
        return direction_spread(self.resolutions_A)


def by_direction(
    half1: Tensor,
    half2: Tensor,
    mask: Tensor | None,
    voxel_size_A: float,
    *,
    overall_A: float,
    for_mask: CorrectedFsc | None = None,
    half_angle_deg: float = HALF_ANGLE_DEG,
) -> Directions:
    """Measure two half-maps by direction.

    What is true of all directions together lies between what is true of the best and of the worst. Cones overlap and
    their curves are noisy, so chance may say otherwise; then the direction that comes nearest to it is given the
    overall value.

    Parameters
    ----------
    half1, half2
        (n, n, n); their means are taken off before the mask is put on.
    mask
        (n, n, n), or None.
    voxel_size_A
        Of the maps.
    overall_A
        Resolution over all directions, as it is quoted; infinite where the half-maps agree nowhere.
    for_mask
        Curves with random phases that tell what the mask itself brings in; None corrects nothing.
    half_angle_deg
        Of the cones.
    """
    n = check_same_box(half1, half2)
    first, second = half1 - half1.mean(), half2 - half2.mean()
    if mask is not None:
        check_same_box(half1, mask)
        first, second = first * mask, second * mask
    overall = min(round(n * voxel_size_A / overall_A), n // 2)
    vectors = fibonacci_directions(_DIRECTIONS, half1.device)
    # Twice as far as the halves agree and no further: beyond there is noise, and cones of large shells are slow.
    reach = min((n - 1) // 2, max(2 * overall, _FEWEST_SHELLS))
    low = conical_fsc(
        resample(first, 2 * reach + 1), resample(second, 2 * reach + 1), vectors, half_angle_deg=half_angle_deg
    )
    if for_mask is not None:
        low = _without_mask(low, for_mask)
    curves = torch.zeros((_DIRECTIONS, n // 2 + 1), dtype=low.dtype, device=low.device)
    curves[:, : reach + 1] = judged(low, half_angle_deg)
    passed = curves.clone()
    for begin, end in dips(curves.mean(0), THRESHOLD):
        # A shell that is spoilt in all directions says nothing of any.
        passed[:, begin : end + 1] = passed[:, begin : end + 1].clamp(min=THRESHOLD)
    shells = _about_overall(shells_reached(passed), curves, overall)
    areas = cone_areas(curves)
    resolutions = n * voxel_size_A / shells.clamp(min=1).double()
    return Directions(vectors, curves, resolutions, int(areas.argmin()), int(areas.argmax()))


def shells_reached(curves: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Last shell, int64 (d,), up to which each FSC curve (d, m) is on the whole above a threshold; 0 if it never is."""
    total = torch.nn.functional.pad((curves[:, 1:].double() - threshold).cumsum(dim=1), (1, 0))
    return total.argmax(dim=1)


def _without_mask(curves: Tensor, for_mask: CorrectedFsc) -> Tensor:
    """Curves (d, m) less what a mask brings in."""
    if for_mask.randomised_from is None:
        return curves
    added = for_mask.randomised[: curves.shape[1]].to(curves).clamp(min=0.0, max=1.0 - 1e-6)
    added[: for_mask.randomised_from + _FREE_OF_PHASES] = 0.0
    return (curves - added) / (1.0 - added)


def _about_overall(shells: Tensor, curves: Tensor, overall: int) -> Tensor:
    """Shells (d,) of which none is below and none above a shell that is an average over them."""
    upto = (curves[:, 1 : overall + 1] - THRESHOLD).sum(dim=1)
    if int(shells.max()) < overall:
        shells = shells.index_fill(0, upto.argmax(), overall)
    if int(shells.min()) > overall:
        shells = shells.index_fill(0, upto.argmin(), overall)
    return shells
