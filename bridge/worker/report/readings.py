"""What numbers mean, in one line each, for the reader of a report.

Every threshold has its source beside it; where the field has none, it is ours and the constant says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from .quantities import angstrom, in_digits, percent

CFAR_TROUBLE_BELOW = 0.5
"""CryoSPARC guide, "Job: Orientation Diagnostics"."""
SCF_TROUBLE_BELOW = 0.81
"""CryoSPARC guide, ibid.; 8 / pi^2, the SCF of pure side views (Baldwin & Lyumkis 2020)."""

# Tan et al. 2017 define sphericity (1 is a ball) and give no classes; these are ours.
_SPHERICITY_CLASSES = ((0.95, "nearly isotropic"), (0.88, "mildly anisotropic"), (0.75, "moderately anisotropic"))
_NEAR_NYQUIST = 1.05  # ours: a resolution within 5 % of the finest that voxels can hold is set by the voxels
_CLEAR_DIFFERENCE = 0.02  # ours: differences of a mean FSC below this are within what seeds differ by
_INVENTED = 0.05  # ours: mean FSC of maps made of nothing but noise
_TOUCHED = 0.1  # ours: share of the power of well measured voxels that may change without a word
_FALLEN = 0.02  # ours: a loss that fell by less did not fall
_LEARNED_NOTHING = "the network learned nothing that can be relied upon."


class Reading(str):
    """A line of interpretation; `warns` says that it belongs among the report's warnings too."""

    warns: bool

    def __new__(cls, text: str, *, warns: bool = False) -> Reading:
        """Make the line."""
        line = super().__new__(cls, text)
        line.warns = warns
        return line


def alarms(readings: Iterable[str]) -> list[str]:
    """Return those readings that warn, each once, in their order."""
    return list(dict.fromkeys(str(line) for line in readings if isinstance(line, Reading) and line.warns))


def fsc(resolution_A: float, voxel_size_A: float, at_nyquist: float, *, threshold: float = 0.143) -> Reading:
    """Read a half-map FSC.

    Parameters
    ----------
    resolution_A
        Where it first falls below the threshold; infinite where that is in shell 1.
    voxel_size_A
        Of the maps; the Nyquist limit is twice that.
    at_nyquist
        Its value in the last shell.
    """
    nyquist_A = 2.0 * voxel_size_A
    if math.isnan(resolution_A):
        return Reading("The FSC could not be computed.", warns=True)
    if math.isinf(resolution_A):
        return Reading(
            f"The half-maps agree in no shell (FSC below {threshold:g} from the first one on): they do not belong "
            "together, or hold no signal.",
            warns=True,
        )
    if at_nyquist >= threshold and resolution_A <= nyquist_A * _NEAR_NYQUIST:
        return Reading(
            f"The FSC never falls below {threshold:g}; at Nyquist ({angstrom(nyquist_A)}) it is "
            f"{in_digits(at_nyquist)}. Either the voxels are too coarse for these data, or the half-maps share more "
            "than the signal: a sharp mask, a common filter, or particles in both halves.",
            warns=True,
        )
    if resolution_A <= nyquist_A * _NEAR_NYQUIST:
        return Reading(
            f"The FSC falls below {threshold:g} at {angstrom(resolution_A)}, next to Nyquist "
            f"({angstrom(nyquist_A)}): the resolution is limited by the pixel size."
        )
    return Reading(f"The half-maps agree to {angstrom(resolution_A)} (FSC {threshold:g}).")


def shared_network(before_A: float, after_A: float) -> Reading:
    """Read the FSC of half-maps that one network corrected; both resolutions in Angstrom."""
    return Reading(
        f"The FSC of the corrected half-maps reaches {angstrom(after_A)} ({angstrom(before_A)} before). This is not a "
        "resolution: one network saw both half-maps, so they are no longer independent. Quote "
        f"{angstrom(before_A)}."
    )


def independent_networks(before_A: float, after_A: float) -> Reading:
    """Read the FSC of half-maps that were corrected by a network each; both resolutions in Angstrom."""
    return Reading(
        f"The FSC of the corrected half-maps reaches {angstrom(after_A)} ({angstrom(before_A)} before). Each half-map "
        "had its own network, and neither network saw the other half; what both prefer by design can still raise the "
        "FSC, so the number before is the safe one to quote."
    )


def mask_effect(masked_A: float, corrected_A: float) -> Reading:
    """Read the phase-randomised correction of a masked FSC; both resolutions in Angstrom."""
    if not (math.isfinite(masked_A) and math.isfinite(corrected_A)):
        return Reading(
            f"Masked, the FSC falls below 0.143 at {angstrom(masked_A)}; corrected for the mask, at "
            f"{angstrom(corrected_A)}."
        )
    if corrected_A > 1.1 * masked_A:
        return Reading(
            f"The mask alone takes the FSC from {angstrom(corrected_A)} to {angstrom(masked_A)}: it is too tight or "
            f"too sharp. Quote {angstrom(corrected_A)}, the value corrected by phase randomisation.",
            warns=True,
        )
    return Reading(
        f"Corrected for the mask by phase randomisation it is {angstrom(corrected_A)} ({angstrom(masked_A)} without "
        "that): the mask adds little of its own."
    )


def anisotropy(best_A: float, worst_A: float, sphericity: float | None) -> Reading:
    """Read a 3DFSC: resolutions in Angstrom of its best and worst direction, and its sphericity (None: no body)."""
    if math.isinf(best_A) or math.isnan(best_A):
        return Reading("In no direction do the half-maps agree: there is nothing to compare.", warns=True)
    measured = (
        f"The map is measured to {angstrom(best_A)} in its best direction and to {angstrom(worst_A)} in its worst"
    )
    strong = False
    if math.isinf(worst_A) or math.isnan(worst_A):
        measured = f"The map is measured to {angstrom(best_A)} in its best direction, and not at all in its worst"
        strong = True
    if sphericity is None or math.isnan(sphericity):
        return Reading(f"{measured}; it has no sphericity, as the 3DFSC is low from the first shell on.", warns=strong)
    words = next((name for least, name in _SPHERICITY_CLASSES if sphericity >= least), "strongly anisotropic")
    strong = strong or words.startswith("strongly")
    return Reading(f"{measured}; sphericity {in_digits(sphericity)}: {words}.", warns=strong)


def directions(best_A: float, worst_A: float, deviation_A: float) -> Reading:
    """Read resolutions over directions, in Angstrom: extremes and standard deviation."""
    if not all(math.isfinite(value) for value in (best_A, worst_A, deviation_A)):
        return Reading(
            f"Directions reach from {angstrom(best_A)} to {angstrom(worst_A)}; in some of them nothing is measured.",
            warns=True,
        )
    return Reading(
        f"Directions reach from {angstrom(best_A)} to {angstrom(worst_A)}, a factor of "
        f"{in_digits(worst_A / best_A)}, with a standard deviation of {in_digits(deviation_A)} Å."
    )


def cfar(value: float, scf_star: float | None = None) -> Reading:
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


def sampling(scf_star: float, unsampled: float) -> Reading:
    """Read SCF* and the share of directions of Fourier space that no view samples."""
    if math.isnan(scf_star):
        return Reading("SCF* could not be computed.")
    low = scf_star < SCF_TROUBLE_BELOW
    verdict = "the views leave directions badly sampled" if low else "the views sample all directions well enough"
    return Reading(
        f"SCF* is {in_digits(scf_star)} (below {SCF_TROUBLE_BELOW:g} means trouble): {verdict}; "
        f"{percent(unsampled)} of the directions are in no view at all.",
        warns=low,
    )


def view_density(density: Sequence[float]) -> Reading:
    """Read how densely views lie about evenly spread directions; any scale."""
    values = np.sort(np.nan_to_num(np.asarray(density, dtype=np.float64)))[::-1]
    if not values.size or values.sum() <= 0:
        return Reading("There are no views to show.")
    half = int(np.searchsorted(np.cumsum(values), values.sum() / 2)) + 1
    return Reading(
        f"Half of the views lie in {percent(half / values.size)} of all directions (50 % if they were even); "
        f"{percent(float((values <= 0).mean()))} of the directions hold none."
    )


def change(well_measured: float, badly_measured: float) -> Reading:
    """Read the share of power that a correction changed in well and in badly measured Fourier voxels."""
    touched = well_measured > _TOUCHED
    words = (
        f"What the correction changed amounts to {percent(badly_measured)} of the power that was there in badly "
        f"measured directions, and to {percent(well_measured)} in well measured ones"
    )
    return Reading(
        words + ("; well measured signal was altered, not only filled in." if touched else ", as it should be."),
        warns=touched,
    )


def loss(losses: Sequence[float], held_out: Sequence[float] = (), *, warm: bool = False) -> Reading:
    """Read the course of a training: the loss of every step, and of the looks at crops that were kept out.

    `warm` says that the network had been trained before, so that its loss need not fall.
    """
    values = np.asarray(losses, dtype=np.float64)
    if not values.size:
        return Reading("No training: the network was used as it was given.")
    if not np.isfinite(values).all():
        return Reading("The loss stopped being a number: do not use this result.", warns=True)
    window = max(1, values.size // 10)
    first, last = float(values[:window].mean()), float(values[-window:].mean())
    if not last < first * (1 - _FALLEN):
        return Reading(
            f"The loss did not fall ({in_digits(first, 3)} at first, {in_digits(last, 3)} at last, {values.size} "
            f"steps): {'the network had learned all it could before.' if warm else _LEARNED_NOTHING}",
            warns=not warm,
        )
    words = f"The loss fell from {in_digits(first, 3)} to {in_digits(last, 3)} in {values.size} steps"
    if len(held_out) < 3 or not np.isfinite(held_out).all():
        return Reading(words + ".")
    best = int(np.argmin(held_out))
    if held_out[-1] > held_out[best] * (1 + _FALLEN):
        return Reading(
            f"{words}, but that of crops kept out of training was lowest at look {best + 1} of {len(held_out)} and "
            "rose after it: the training was too long.",
            warns=True,
        )
    return Reading(f"{words}, and that of crops kept out of training fell with it.")


def hold_out(before: float, after: float) -> Reading:
    """Read the directional hold-out: mean FSC to what had been measured in the cone, before and after correction."""
    if not (math.isfinite(before) and math.isfinite(after)):
        return Reading("The hold-out test could not be scored.")
    words = "In a direction that was spoilt on purpose, the FSC to what had been measured there went from "
    words += f"{in_digits(before)} to {in_digits(after)}: "
    if after > before + _CLEAR_DIFFERENCE:
        return Reading(words + "the correction brought back signal that is really there.")
    if after < before - _CLEAR_DIFFERENCE:
        return Reading(words + "the correction made it worse; do not trust it on these data.", warns=True)
    return Reading(words + "the correction neither found nor lost signal.")


def noise_control(before: float, after: float) -> Reading:
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


def phase_control(total: float, control: float) -> Reading:
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


def guinier(b_factor_A2: float | None, low_pass_A: float) -> Reading:
    """Read a sharpening: the B-factor that was applied (negative sharpens; None: the spectrum was levelled)."""
    end = f"; the map ends at {angstrom(low_pass_A)}."
    if b_factor_A2 is None:
        return Reading(f"The spectrum was made flat, shell by shell{end}")
    if b_factor_A2 > 0:
        return Reading(f"A B-factor of {b_factor_A2:.0f} Å² was applied, which blurs the map{end}", warns=True)
    return Reading(f"A B-factor of {b_factor_A2:.0f} Å² was applied{end}")


def spread(relative: float, networks: int) -> Reading:
    """Read an ensemble: median spread inside the mask over the map's standard deviation there."""
    words = f"{networks} networks from different seeds differ by {percent(relative)} of the map's own contrast"
    if relative > 0.5:
        return Reading(f"{words}: detail of that size depends on chance.", warns=True)
    return Reading(f"{words}; where the spread is bright, trust the map less.")


def similarity(correlation: float) -> Reading:
    """Read central sections before and after: correlation of the two maps inside the mask."""
    if not math.isfinite(correlation):
        return Reading("Central sections of all maps on one grey scale.")
    words = "barely" if correlation > 0.98 else "visibly" if correlation > 0.8 else "strongly"
    return Reading(
        f"Central sections on one grey scale; the correction changed the map {words} (correlation "
        f"{in_digits(correlation, 3)} inside the mask)."
    )
