"""The words of `map.diagnose`: how the methods text tells of it, and what its figures show.

Every threshold has its source beside it; where the field has none, it is ours and the constant says so.
"""

from __future__ import annotations

import math

from ....report import citations
from ....report.citations import Citation
from ....report.methods import Passage
from ....report.quantities import in_digits
from ....report.readings import SCF_TROUBLE_BELOW, Reading

CFAR = Citation(
    "CryoSPARC guide",
    "Structura Biotechnology. Job: Orientation Diagnostics. CryoSPARC guide.",
    "https://guide.cryosparc.com/processing-data/all-job-types-in-cryosparc/utilities/job-orientation-diagnostics",
)
CFAR_TROUBLE_BELOW = 0.5
"""CryoSPARC guide, "Job: Orientation Diagnostics"."""
_CLEAR_DIFFERENCE = 0.02  # ours: differences of a mean FSC below this are within what seeds differ by
_INVENTED = 0.05  # ours: mean FSC of maps made of nothing but noise
HOLD_OUT_TRIED = ((0.097, 0.101), (0.006, -0.004), (0.201, 0.133))
"""True gain in mean FSC where directions were measured badly, and the gain that the hold-out test found: three
simulated pairs, 80 steps of the smallest network, made anew."""


def conical_fsc(directions: int, half_angle_deg: float) -> Passage:
    """Directional FSC curves and cFAR."""
    return Passage(
        f"FSC curves were computed in double cones of {half_angle_deg:g}° half-angle about {directions} directions "
        f"({citations.FSC3D.short}); cFAR is the smallest over the largest area under them "
        f"({CFAR.short}).",
        (citations.FSC3D, CFAR),
    )


def hold_out(half_angle_deg: float) -> Passage:
    """The directional hold-out test."""
    return Passage(
        f"For the directional hold-out test all about a well measured direction was made as bad as about the worst one "
        f"by adding noise to both half-maps. In a double cone of {half_angle_deg:g}° half-angle each half-map, spoilt "
        "and corrected, was compared with the other half-map as it had been measured; divided by the square root of "
        "the measured half-maps' FSC this estimates the FSC to the truth."
    )


def hold_out_worth() -> str:
    """What a reader must know of the hold-out test: what it is of, and how far it was off where that is known."""
    true, found = (
        "{:.3f}, {:.3f} and {:.3f}".format(*gains).replace("-", "−") for gains in zip(*HOLD_OUT_TRIED, strict=True)
    )
    return (
        "The hold-out test tells of the method on these data, with a network of its own; it is no measurement of the "
        f"corrected maps themselves. Tried on three simulated pairs, with a small network that began anew, it found "
        f"gains of {found} in mean FSC where the true ones were {true}."
    )


def controls() -> Passage:
    """Noise and phase-randomised halves through the network."""
    return Passage(
        "As controls the network was given half-maps of pure noise with the measured noise's power spectrum, and the "
        f"half-maps with randomised phases ({citations.PHASE_RANDOMISATION.short}).",
        (citations.PHASE_RANDOMISATION,),
    )


def read_cfar(value: float, scf_star: float | None = None) -> Reading:
    """Read the conical FSC area ratio, with SCF* where the views are known (CryoSPARC guide's table of both)."""
    if math.isnan(value):
        return Reading("cFAR could not be computed.")
    low = value < CFAR_TROUBLE_BELOW
    words = f"cFAR is {in_digits(value)} (below {CFAR_TROUBLE_BELOW:g} means trouble): "
    if scf_star is None or math.isnan(scf_star):
        return Reading(
            words + ("directions are measured very unequally." if low else "no direction falls far behind."), warns=low
        )
    few_views = scf_star < SCF_TROUBLE_BELOW
    words += f"with SCF* {in_digits(scf_star)} (below {SCF_TROUBLE_BELOW:g} means trouble) "
    return Reading(
        words
        + {
            (False, False): "neither the views nor the signal are biased by direction.",
            (False, True): "the views are uneven, but the signal is not: look at the distribution of views.",
            (True, False): "the views are even, so particles that are not good, not missing views, weaken directions.",
            (True, True): "views are missing, and the signal is weak in those directions.",
        }[low, few_views],
        warns=low,
    )


def read_hold_out(before: float, after: float) -> Reading:
    """Read the directional hold-out: mean FSC of a half to the truth in the cone, estimated, spoilt and corrected."""
    if not (math.isfinite(before) and math.isfinite(after)):
        return Reading("The hold-out test could not be scored.")
    words = "In a direction that was spoilt on purpose, the FSC of a half-map to the truth went from "
    words += f"{in_digits(before)} to {in_digits(after)}: "
    if after > before + _CLEAR_DIFFERENCE:
        return Reading(words + "the correction brought back signal that is really there.")
    if after < before - _CLEAR_DIFFERENCE:
        return Reading(words + "the correction made it worse; do not trust it on these data.", warns=True)
    return Reading(words + "the correction neither found nor lost signal.")


def read_noise_control(before: float, after: float) -> Reading:
    """Read the control on pure noise: mean FSC of two maps of noise, before and after they went through the network."""
    if not math.isfinite(after):
        return Reading("The noise control could not be scored.")
    words = (
        f"Fed with two maps of pure noise (mean FSC {in_digits(before)}), the network returns maps with a mean FSC of "
    )
    words += in_digits(after)
    if after - max(before, 0.0) > _INVENTED:
        return Reading(words + ": it invents structure, and what it adds to your map is in doubt.", warns=True)
    return Reading(words + ": it invents nothing that both halves would share.")


def read_phase_control(total: float, control: float) -> Reading:
    """Read the phase-randomised control: mean FSC, beyond where phases were randomised, with true and random phases."""
    if not (math.isfinite(total) and math.isfinite(control)):
        return Reading("The phase-randomised control could not be scored.")
    words = (
        f"Beyond the shell where phases were randomised, the corrected half-maps correlate by {in_digits(total)} with "
        f"true phases and by {in_digits(control)} with random ones"
    )
    if control > max(_INVENTED, total / 2):
        return Reading(words + ": most of that agreement is the network's own.", warns=True)
    return Reading(words + ": their agreement comes from the data.")
