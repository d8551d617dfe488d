"""How far two half-maps agree, over all directions and by direction: measured once, and quoted alike everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..directional import HALF_ANGLE_DEG, Directions, by_direction
from ..fourier import box_size, resolution
from .postprocess import Agreement, agreement


@dataclass(frozen=True)
class PairQuality:
    """What two half-maps are worth.

    agreement
        FSC curves over all directions; `agreement.used` is the one to quote, corrected for the mask.
    resolution_A
        Where that falls below 0.143; infinite where the half-maps agree nowhere.
    directions
        The same by direction.
    """

    agreement: Agreement
    resolution_A: float
    directions: Directions


def pair_quality(
    half1: Tensor,
    half2: Tensor,
    mask: Tensor | None,
    voxel_size_A: float,
    *,
    overall_A: float | None = None,
    half_angle_deg: float = HALF_ANGLE_DEG,
    seed: int = 0,
) -> PairQuality:
    """Measure two unfiltered half-maps (n, n, n), with a mask (n, n, n) if there is one.

    Where the mask makes the resolution worse all is measured without it, see `agreement`.

    Parameters
    ----------
    half1, half2, mask
        The maps.
    voxel_size_A
        Of the maps.
    overall_A
        Resolution over all directions as another program quotes it; measured here if None.
    half_angle_deg
        Of the cones that directions are measured in.
    seed
        Of random phases.
    """
    found = agreement(half1, half2, mask, seed=seed)
    if overall_A is None:
        overall_A = resolution(found.used, voxel_size_A, box=box_size(half1))
    directions = by_direction(
        half1,
        half2,
        None if found.mask_hurts else mask,
        voxel_size_A,
        overall_A=overall_A,
        for_mask=None if found.mask_hurts else found.curves,
        half_angle_deg=half_angle_deg,
    )
    return PairQuality(found, overall_A, directions)
