"""What is said of a corrected map beside what was measured: the numbers, and a line for each finding."""

from __future__ import annotations

import math

from cryobridge.core.diagnosis import Consistency

from .quantities import in_digits
from .readings import Reading


def consistency_metrics(found: Consistency) -> dict[str, float | str | None]:
    """Numbers by name; None for what has no finite value."""
    parts = {"worst_direction": found.worst, "badly_measured": found.badly, "well_measured": found.well}
    return {
        "consistency": found.level,
        **{f"support_{name}": _finite(part.gain) for name, part in parts.items()},
        **{f"agreement_{name}": _finite(part.agreement) for name, part in parts.items()},
        "amplitude_of_corrected": _finite(found.scale),
        "power_badly_over_well": _finite(found.power),
        "power_badly_over_well_before": _finite(found.power_before),
    }


def read_consistency(found: Consistency) -> list[Reading]:
    """Read how corrected half-maps stand to what was measured: a line for each finding, or one that there is none."""
    if found.findings:
        return [Reading(finding.sentence, warns=True) for finding in found.findings]
    if not math.isfinite(found.badly.gain):
        return [
            Reading(
                "In badly measured directions so little was measured that nothing can be said of what the correction "
                "put there.",
                warns=True,
            )
        ]
    return [
        Reading(
            "Nothing in the corrected half-maps contradicts what was measured: each predicts the other half-map "
            f"{in_digits(found.badly.gain)} times as well as the half-map that it was made of in badly measured "
            f"directions, {in_digits(found.well.gain)} times in well measured ones. Where one network saw both "
            "half-maps that is no proof."
        )
    ]


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
