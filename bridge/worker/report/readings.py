"""What numbers mean that several kinds show, in one line each, for the reader of a report.

Every threshold has its source beside it; where the field has none, it is ours and the constant says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from .quantities import angstrom, in_digits, percent

SCF_TROUBLE_BELOW = 0.81
"""CryoSPARC guide, "Job: Orientation Diagnostics"; 8 / pi^2, the SCF of pure side views (Baldwin & Lyumkis 2020)."""

# Tan et al. 2017 define sphericity (1 is a ball) and give no classes; these are ours.
_SPHERICITY_CLASSES = ((0.95, "nearly isotropic"), (0.88, "mildly anisotropic"), (0.75, "moderately anisotropic"))
_NEAR_NYQUIST = 1.05  # ours: a resolution within 5 % of the finest that voxels can hold is set by the voxels
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


def sampling(scf_star: float, unsampled: float, *, enough: bool = True, one_view: bool = False) -> Reading:
    """Read SCF* and the share of directions of Fourier space that no view samples.

    Parameters
    ----------
    scf_star, unsampled
        The numbers.
    enough
        Whether there are views enough for a verdict.
    one_view
        Whether all views are one and the same.
    """
    if math.isnan(scf_star):
        return Reading("SCF* could not be computed.")
    if one_view:
        return Reading(
            "All particles have one and the same view: they were not aligned in 3D, or lie on one side only; give the "
            "particles of a finished refinement.",
            warns=True,
        )
    if not enough:
        return Reading(
            f"SCF* is {in_digits(scf_star)}, but of so few views it is mostly chance, and no verdict: "
            f"{percent(unsampled)} of the directions are in no view at all. Give all particles of the refinement.",
            warns=True,
        )
    low = scf_star < SCF_TROUBLE_BELOW
    verdict = "the views leave directions badly sampled" if low else "the views sample all directions well enough"
    return Reading(
        f"SCF* is {in_digits(scf_star)} (below {SCF_TROUBLE_BELOW:g} means trouble): {verdict}; "
        f"{percent(unsampled)} of the directions are in no view at all.",
        warns=low,
    )


def two_fold(symmetry: str) -> Reading | None:
    """Say which axis a dihedral group means, for views of a program that may mean another; None where all agree."""
    order = symmetry.upper().removeprefix("D")
    if not (symmetry.upper().startswith("D") and order.isdigit() and int(order) % 2):
        return None
    return Reading(
        f"{symmetry.upper()} is taken as RELION has it, with a two-fold on x. For an odd order a two-fold on y makes "
        "another group: if the refinement that these views come from has it there, what is said here is wrong."
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
        words + ("; well measured signal was altered, not only filled in." if touched else "."),
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
