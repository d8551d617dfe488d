"""What the figures by direction and by shell of a correction show, in one line each."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from ....report.quantities import angstrom, in_digits, percent
from ....report.readings import Reading

AFTER = "corrected, not a resolution"
"""What the curves of half-maps are called that one network corrected."""
_TOO_STRONG = 1.3  # ours; as in the verdict


def read_oriented(axis: Tensor) -> Reading:
    """Read sections along and across the worst direction (3,) z, y, x."""
    off_z = math.degrees(math.acos(min(1.0, abs(float(axis[0])))))
    return Reading(
        f"The direction that is measured worst, {off_z:.0f}° from z, stands upright in the first two columns: what was "
        "smeared along it before is what the correction is about. All rows were sharpened and low-passed alike."
    )


def read_cones(*, shared: bool) -> Reading:
    """Read the FSC in cones before and after; `shared`: one network saw both halves."""
    if shared:
        return Reading(
            "How far the half-maps agree in the worst and in the best direction. The curves after the correction say "
            "only how alike one network made both halves: they are neither a resolution nor a sign of success."
        )
    return Reading(
        "How far the half-maps agree in the worst and in the best direction. After the correction each half comes from "
        "a network of its own; what both prefer by design can still raise their agreement."
    )


def read_histogram(spread: Mapping[str, float]) -> Reading:
    """Read the resolutions over directions: mean, sd, min, max and percentiles p5 to p95, in Angstrom."""
    return Reading(
        f"Directions reach {angstrom(spread['mean'])} on average (s.d. {in_digits(spread['sd'])} Å), from "
        f"{angstrom(spread['min'])} to {angstrom(spread['max'])}; nine tenths of them lie between "
        f"{angstrom(spread['p5'])} and {angstrom(spread['p95'])}. directions.csv has them all."
    )


def read_views(seen: Tensor) -> Reading:
    """Read the mean 3DFSC of what a view from each direction holds, (k,)."""
    most, least = float(seen.max()), float(seen.min())
    if not most > 0:
        return Reading("No view holds any signal.")
    return Reading(
        "How much measured signal a projection along each direction holds, by the mean 3DFSC of its plane: the poorest "
        f"view has {percent(least / most)} of the richest. A map is sharp when seen from where this is bright."
    )


def read_amplitudes(signal_badly: float) -> Reading:
    """Read amplitudes by shell; `signal_badly` is the mean of those measured badly over the signal's."""
    rule = "A map of least squared error is weaker than the truth where it is not sure: values below 1 are no fault."
    if math.isnan(signal_badly):
        return Reading(f"No direction is measured much worse than the others. {rule}")
    told = f"In badly measured directions the corrected map has {percent(signal_badly)} of the signal's amplitude. "
    if signal_badly > _TOO_STRONG:
        return Reading(f"{told}That is more than any estimate can have that is right.", warns=True)
    return Reading(told + rule)
