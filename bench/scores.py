"""How near a map is to the truth: FSC over all directions and by angle from the worst axis; real-space correlation."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from pairs import Pair
from torch import Tensor

from cryobridge.core.fourier import apply_filter, forward, last_shell, radial_sum, radius, shell_of_resolution

BINS_DEG = (0, 15, 30, 45, 60, 75, 90)
COARSEST_A = 12.0
_CONE_DEG = 40.0
_GUARD_DEG = 5.0


def names() -> list[str]:
    """Names of the scores, in the order of tables."""
    return ["all", "cone", "rest", *(f"{a}-{b}" for a, b in pairwise(BINS_DEG)), "CC"]


def scores(pair: Pair, volume: Tensor) -> dict[str, float]:
    """Score a map (n, n, n) on any scale.

    Every name but CC is a mean FSC to the truth, both inside the mask, over the shells from 12 A to the pair's limit:
    over all directions, within 35 degrees of the worst axis ("cone"), more than 45 degrees away ("rest"), and by bin
    of the angle. "CC" is the correlation of the voxels inside the mask (> 0.5) after both maps were cut at the limit.
    """
    n = pair.box
    a, b = forward(volume.double() * pair.mask), forward(pair.truth.double() * pair.mask)
    angle = pair.polar_angle_deg()
    regions = {
        "all": torch.ones_like(angle, dtype=torch.bool),
        "cone": angle < _CONE_DEG - _GUARD_DEG,
        "rest": angle > _CONE_DEG + _GUARD_DEG,
    }
    for low, high in pairwise(BINS_DEG):
        regions[f"{low}-{high}"] = (angle >= low) & (angle < high if high < BINS_DEG[-1] else angle <= high)
    found = {name: _mean_fsc(pair, a, b, region) for name, region in regions.items()}
    band = (radius(n) <= shell_of_resolution(n, pair.voxel_size_A, pair.limit_A)).double()
    inside = pair.mask > 0.5
    one, two = (apply_filter(v.double(), band)[inside] for v in (volume, pair.truth))
    found["CC"] = float(torch.corrcoef(torch.stack([one, two]))[0, 1])
    return found


def _mean_fsc(pair: Pair, a: Tensor, b: Tensor, region: Tensor) -> float:
    n = pair.box
    counted = region.double()
    cross = radial_sum((a * b.conj()).real * counted, n)
    norm = (radial_sum(a.abs().square() * counted, n) * radial_sum(b.abs().square() * counted, n)).sqrt()
    first = math.ceil(shell_of_resolution(n, pair.voxel_size_A, COARSEST_A))
    last = last_shell(n, pair.voxel_size_A, pair.limit_A)
    return float((cross / norm.clamp(min=torch.finfo(torch.float64).tiny))[first : last + 1].mean())
