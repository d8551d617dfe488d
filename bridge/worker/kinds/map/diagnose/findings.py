"""All that `map.diagnose` found, and the numbers of it that go into the result."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from cryobridge.core.diagnosis import SymmetryFound
from cryobridge.core.fourier import resolution

from ....report.support import consistency_metrics
from ..measured import Measured, sphericity_or_none
from .controls import Controls
from .hold_out import HoldOut
from .measure import Changed, Views


@dataclass(frozen=True)
class Findings:
    """What was found; None for what was not asked for.

    fsc3d
        (n, n, n // 2 + 1), ratio of sums.
    """

    measured: Measured
    fsc3d: Tensor
    symmetry: SymmetryFound
    views: Views | None
    change: Changed | None
    hold_out: HoldOut | None
    controls: Controls | None

    @property
    def half_A(self) -> float:
        """Where the quoted FSC falls below 0.5; infinite where it never is above."""
        measured = self.measured
        return resolution(measured.curve, measured.voxel_size_A, 0.5, box=measured.half1.shape[-1])

    def metrics(self) -> dict[str, object]:
        """Numbers by name; None for what has no finite value."""
        measured = self.measured
        spread, directions = measured.directions.spread, measured.directions
        numbers: dict[str, object] = {
            "box": measured.half1.shape[-1],
            "voxel_size_A": measured.voxel_size_A,
            "resolution_A": _finite(measured.resolution_A),
            "resolution_0.5_A": _finite(self.half_A),
            "limit_resolution_A": round(measured.limit_A, 4),
            "randomised_from_shell": measured.randomised_from,
            "sphericity_0.5": sphericity_or_none(self.fsc3d),
            "cfar": _finite(directions.cfar),
            "best_direction_A": _finite(spread.best_A),
            "worst_direction_A": _finite(spread.worst_A),
            "mean_direction_A": _finite(spread.mean_A),
            "deviation_direction_A": _finite(spread.deviation_A),
            "median_direction_A": _finite(spread.median_A),
            "percentile_5_direction_A": _finite(spread.percentile_5_A),
            "percentile_95_direction_A": _finite(spread.percentile_95_A),
            "best_direction_xyz": xyz(directions.vectors[directions.best]),
            "worst_direction_xyz": xyz(directions.vectors[directions.worst]),
        }
        if self.symmetry.elements:
            numbers |= {"symmetry": self.symmetry.level}
        if self.views is not None:
            found = self.views.compensation
            numbers |= {
                "views": self.views.count,
                "scf": _finite(found.scf),
                "scf_star": _finite(found.scf_star),
                "unsampled_share": _finite(found.unsampled),
            }
        if self.change is not None:
            numbers |= {
                "power_changed_well_measured": _finite(self.change.well),
                "power_changed_badly_measured": _finite(self.change.badly),
                "rms_change": _finite(self.change.moved),
                "area_ratio_of_corrected": _finite(self.change.directions.cfar),
                **consistency_metrics(self.change.consistency),
            }
        if self.hold_out is not None:
            numbers |= {
                "hold_out_direction_xyz": xyz(self.hold_out.axis),
                "hold_out_spoilt_deg": self.hold_out.spoilt_deg,
                "hold_out_fsc_before": _finite(self.hold_out.before),
                "hold_out_fsc_after": _finite(self.hold_out.after),
                "hold_out_steps": len(self.hold_out.losses),
            }
        if self.controls is not None:
            numbers |= {
                "noise_fsc_before": _finite(self.controls.noise_before),
                "noise_fsc_after": _finite(self.controls.noise_after),
                "noise_power_gain": _finite(self.controls.noise_power),
                "true_phases_fsc": _finite(self.controls.true_phases),
                "random_phases_fsc": _finite(self.controls.random_phases),
            }
        return numbers


def xyz(vector: Tensor) -> list[float]:
    """A unit vector (3,) kept as z, y, x in the order x, y, z."""
    return [round(value, 4) for value in vector.flip(0).tolist()]


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
