"""What is said, and done, about the contrast, phases and poses of images after a quick backprojection of some."""

from __future__ import annotations

from dataclasses import dataclass

from cryobridge.core.particles import ImageProbe
from cryobridge.schemas.particle_images import ContrastChoice
from cryobridge.wrappers.particles.particle_set import Contrast

_FEWEST_IMAGES = 20
_LEAST_SKEWNESS = 0.4
"""Of a backprojection; that of noise, or of a set of shuffled poses of it, is within a few hundredths of 0."""
_LEAST_GAIN = 0.08
"""In mean FSC. Shuffled poses and rows that are off by one gain up to 0.03, poses that fit 0.2 and more."""


@dataclass(frozen=True)
class ContrastFound:
    """What came of it.

    Attributes
    ----------
    contrast
        That the images are taken to have.
    flipped
        Whether phases are taken to be flipped in the images.
    poses_fit
        Whether the backprojection is more than images give whose poses mean nothing; None where too few were there.
    remarks
        What a reader must know, in sentences.
    doubts
        Those of them that say that something may be wrong.
    probe
        The measures; None where there were too few images for any.
    """

    contrast: Contrast
    flipped: bool
    poses_fit: bool | None
    remarks: tuple[str, ...]
    doubts: tuple[str, ...]
    probe: ImageProbe | None


def contrast_of(probe: ImageProbe, chosen: ContrastChoice, stated: Contrast | None, *, has_ctf: bool) -> ContrastFound:
    """Decide.

    Parameters
    ----------
    probe
        Of images taken as bright on dark.
    chosen
        The user's option, which always counts.
    stated
        What the table says.
    has_ctf
        Whether there is a CTF whose phases could be flipped.
    """
    seen = _seen(probe)
    contrast: Contrast = chosen if chosen != "auto" else seen or stated or "bright"
    words, doubts = _of_contrast(probe, chosen, seen, stated)
    gain = probe.flipped - probe.agreement
    flipped = has_ctf and probe.images >= _FEWEST_IMAGES and gain > _LEAST_GAIN
    if flipped:
        doubts.append(
            f"Phases were flipped in these images already (half-maps agree better by {gain:.2f} in mean FSC when the "
            "signs of the CTF are left out): the CTF is used by its size only."
        )
    fit = None
    if probe.images >= _FEWEST_IMAGES:
        fit = max(probe.agreement, probe.flipped if flipped else probe.agreement) - probe.shuffled > _LEAST_GAIN
    if fit is False:
        doubts.append(
            f"The backprojection of {probe.images} images is noise: with poses dealt out at random its half-maps agree "
            f"as well (mean FSC {probe.agreement:.2f} and {probe.shuffled:.2f}). Poses, CTF or the order of the images "
            "do not fit; nothing that follows can be relied upon."
        )
    return ContrastFound(contrast, flipped, fit, (*words, *doubts), tuple(doubts), probe)


def _seen(probe: ImageProbe) -> Contrast | None:
    """The contrast that the backprojection shows; None where the evidence is weak."""
    one, other = probe.half_skewness
    strong = abs(probe.skewness) >= _LEAST_SKEWNESS and one * other > 0 and probe.skewness * one > 0
    if probe.images < _FEWEST_IMAGES or not strong:
        return None
    return "bright" if probe.skewness > 0 else "dark"


def _of_contrast(
    probe: ImageProbe, chosen: ContrastChoice, seen: Contrast | None, stated: Contrast | None
) -> tuple[list[str], list[str]]:
    """What is said of the contrast: plain words, and doubts."""
    by = f"by a backprojection of {probe.images} images (skewness {probe.skewness:+.2f})"
    turn = "set contrast if volumes come out inverted"
    if chosen != "auto":
        if seen is None or seen == chosen:
            return [], []
        return [], [f"Particles are taken as {chosen}, as asked for, but are {seen} {by}; {turn}."]
    if seen is None:
        why = "the table does not say" if stated is None else f"the table says that they are {stated}"
        return [], [
            f"Whether particles are bright or dark could not be told {by}; {why}, so they are taken as "
            f"{stated or 'bright'}; {turn}."
        ]
    if stated is None or stated == seen:
        return [f"Particles are {seen}, found {by}{'' if stated is None else ', as the table says'}."], []
    return [], [
        f"Particles are {seen}, found {by}, but the table says that they are {stated}: the images were followed; "
        f"{turn}."
    ]
