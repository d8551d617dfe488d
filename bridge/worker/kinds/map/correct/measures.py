"""`map.correct`: what is measured on a finished correction, for its page, its tables and its verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from cryobridge.core.diagnosis import ShellAmplitudes, amplitudes_by_shell, rms_difference
from cryobridge.core.directional import (
    conical_fsc,
    direction_quality,
    signal_by_view,
)
from cryobridge.core.fourier import last_shell

from .outputs import CorrectedPair
from .prepare import Prepared

CONE_DEG = 20.0
"""Half-angle of the cones whose FSC is shown before and after: wide enough to hold some voxels of every shell."""
_FEWEST_VOXELS = 4.0
PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class Measures:
    """Numbers by direction and by shell, on the host.

    Attributes
    ----------
    directions, resolutions_A
        Evenly spread directions (k, 3) z, y, x, and how far the half-maps are measured in each, (k,); infinite where
        they are not.
    seen
        Mean 3DFSC of what a view from each of the directions holds, (k,).
    worst, best
        Directions (3,) of the extremes.
    cones_before, cones_after
        FSC in cones about the worst and the best direction, (2, n // 2 + 1), before and after.
    amplitudes
        By shell, see `core.diagnosis`.
    outside
        RMS of the change outside the mask, over the RMS of what was there; NaN where there is no outside.
    """

    directions: Tensor
    resolutions_A: Tensor
    seen: Tensor
    worst: Tensor
    best: Tensor
    cones_before: Tensor
    cones_after: Tensor
    amplitudes: ShellAmplitudes
    outside: float

    @property
    def resolution_spread(self) -> dict[str, float]:
        """Mean, standard deviation, extremes and percentiles of the resolutions over directions, in Angstrom."""
        found = self.resolutions_A.double()
        spread = {
            "mean": float(found.mean()),
            "sd": float(found.std()),
            "min": float(found.min()),
            "max": float(found.max()),
        }
        return spread | {f"p{percent}": float(found.quantile(percent / 100)) for percent in PERCENTILES}

    @property
    def signal_badly(self) -> float:
        """Median over shells of the corrected amplitude over the signal's, where measured badly; NaN if nowhere."""
        return float(self.amplitudes.signal_badly[1:].nanmedian())

    def directions_table(self) -> str:
        """The resolutions as CSV: direction in x, y, z, resolution in Angstrom, mean 3DFSC in views from there."""
        rows = ["x,y,z,resolution_A,fsc3d_in_view"]
        for (z, y, x), resolution_A, seen in zip(
            self.directions.tolist(), self.resolutions_A.tolist(), self.seen.tolist(), strict=True
        ):
            rows.append(f"{x:.5f},{y:.5f},{z:.5f},{resolution_A:.4f},{seen:.4f}")
        return "\n".join(rows) + "\n"


def measure(prepared: Prepared, found: CorrectedPair) -> Measures:
    """Measure a finished correction."""
    pair, fsc3d, mask = prepared.pair, prepared.fsc3d, prepared.mask
    last = last_shell(pair.box, pair.voxel_size_A, prepared.limit_A)
    device = fsc3d.device
    half1, half2 = prepared.originals
    after = (found.half1.to(device), found.half2.to(device))
    measured = prepared.measured.directions
    directions, resolutions_A = measured.vectors, measured.resolutions_A
    ends = directions[[measured.worst, measured.best]]
    quality = direction_quality(fsc3d, last)
    return Measures(
        directions=directions.cpu(),
        resolutions_A=resolutions_A.cpu(),
        seen=signal_by_view(quality, directions).cpu(),
        worst=ends[0].cpu(),
        best=ends[1].cpu(),
        cones_before=_in_cones(half1, half2, ends, mask),
        cones_after=_in_cones(*after, ends, mask),
        amplitudes=amplitudes_by_shell(half1, half2, (after[0] + after[1]) / 2, fsc3d, last, mask).cpu(),
        outside=_outside((half1 + half2) / 2, (after[0] + after[1]) / 2, mask),
    )


def _in_cones(half1: Tensor, half2: Tensor, directions: Tensor, mask: Tensor | None) -> Tensor:
    """FSC in cones (d, n // 2 + 1) on the host; 1 in the first shells, of which a cone holds a voxel or none."""
    curves = conical_fsc(half1, half2, directions, mask, half_angle_deg=CONE_DEG).cpu()
    share = 2.0 * math.pi * (1.0 - math.cos(math.radians(CONE_DEG)))
    curves[:, : math.ceil(math.sqrt(_FEWEST_VOXELS / share))] = 1.0
    return curves


def _outside(before: Tensor, after: Tensor, mask: Tensor | None) -> float:
    """RMS change outside the mask over the RMS there before; NaN where nothing is outside, or nothing is there."""
    if mask is None or float(mask.min()) > 0.5:
        return math.nan
    try:
        return rms_difference(before, after, 1.0 - mask.clamp(0.0, 1.0))
    except ValueError:
        return math.nan
