"""The methods text of a report, put together from what was done; each passage brings its citations.

Here are the passages that several kinds use; those of one kind stand beside it.

A runner makes one passage for each step that it took and hands them to `write`:

    paragraphs, references = write([fsc(masked=True), directional_fsc("phase_cosine", 10.0, 3.4)])
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from cryobridge import __version__

from . import citations
from .citations import Citation
from .quantities import angstrom


@dataclass(frozen=True)
class Passage:
    """Sentences on one step, and the works that they name."""

    text: str
    works: tuple[Citation, ...] = ()


def write(passages: Sequence[Passage]) -> tuple[tuple[str, ...], tuple[Citation, ...]]:
    """Return the paragraphs, a last one on the programs included, and the works in the order they come up."""
    programs = (
        f"All computations were done with cryobridge {__version__} (PyTorch {torch.__version__}, Python "
        f"{platform.python_version()})."
    )
    works = dict.fromkeys(work for passage in passages for work in passage.works)
    return (*(passage.text for passage in passages), programs), tuple(works)


def fsc(*, masked: bool, randomised_from_A: float | None = None) -> Passage:
    """Half-map FSC, masked or not, and corrected by phases that are random beyond a resolution, if they were."""
    text = "The Fourier shell correlation of the half-maps was computed " + (
        "inside the mask" if masked else "unmasked"
    )
    works = [citations.GOLD_STANDARD]
    if randomised_from_A is not None:
        text += (
            f" and corrected for the correlation that the mask brings in, by randomising phases beyond "
            f"{angstrom(randomised_from_A)} ({citations.PHASE_RANDOMISATION.short})"
        )
        works.append(citations.PHASE_RANDOMISATION)
    text += (
        f". Resolution is quoted where it first falls below 0.143 ({citations.FSC_143.short}), which presumes "
        f"half-maps that were refined independently ({citations.GOLD_STANDARD.short})."
    )
    return Passage(text, (*works, citations.FSC_143))


def directional_fsc(form: Literal["phase_cosine", "sum_ratio"], half_angle_deg: float, limit_A: float) -> Passage:
    """3DFSC and sphericity."""
    cap = f"over a cap of {half_angle_deg:g}° half-angle of each shell about every voxel, up to {angstrom(limit_A)}"
    if form == "phase_cosine":
        text = (
            f"The 3DFSC was computed as the mean cosine of the phase difference {cap}, as in spIsoNet "
            f"({citations.SPISONET.short}); for the same data it reads lower than an FSC."
        )
        works: tuple[Citation, ...] = (citations.SPISONET,)
    else:
        text = f"The 3DFSC was computed as the ratio of sums {cap} ({citations.FSC3D.short})."
        works = ()
    text += (
        " Sphericity is the surface of a ball over that of the body within which the 3DFSC stays above 0.5, both of "
        f"one volume ({citations.FSC3D.short})."
    )
    return Passage(text, (*works, citations.FSC3D))


def resolution_by_direction(half_angle_deg: float) -> Passage:
    """Resolution by direction, off conical FSC curves."""
    return Passage(
        f"Resolution by direction was read off FSC curves in double cones of {half_angle_deg:g}° half-angle "
        f"({citations.FSC3D.short}), up to where each is, on the whole, above 0.143, corrected for the mask as the FSC "
        "over all directions is.",
        (citations.FSC3D,),
    )


def sampling(views: int, symmetry: str) -> Passage:
    """SCF* of the views of particles."""
    return Passage(
        f"The sampling compensation factor SCF* was computed from {views} views with point group {symmetry} "
        f"({citations.SAMPLING.short}).",
        (citations.SAMPLING,),
    )


def whitening(mode: Literal["radial", "angular"], low_A: float, high_A: float) -> Passage:
    """Amplitudes made even, by shell or by direction."""
    what = {
        "radial": "mean amplitudes of all shells were made alike",
        "angular": "mean amplitudes of all directions were made alike",
    }[mode]
    return Passage(
        f"Between {angstrom(low_A)} and {angstrom(high_A)} the {what} ({citations.SPISONET.short}).",
        (citations.SPISONET,),
    )


def postprocessing(b_factor_A2: float | None, low_pass_A: float, *, fitted: bool, sharpened: bool = True) -> Passage:
    """FSC weighting and sharpening; a B-factor of None with `sharpened` means a flat spectrum."""
    text = f"The half-maps were averaged and weighted by sqrt(2 FSC / (1 + FSC)) ({citations.FSC_143.short})"
    if sharpened and b_factor_A2 is None:
        text += ", the spectrum was made flat"
    elif sharpened and b_factor_A2 is not None:
        source = "fitted to the Guinier plot" if fitted else "as given"
        text += f", sharpened with a B-factor of {b_factor_A2:.0f} Å² ({source})"
    return Passage(f"{text}, and low-passed at {angstrom(low_pass_A)}.", (citations.FSC_143,))


def display() -> Passage:
    """The script for ChimeraX."""
    return Passage(
        f"A script shows the maps in UCSF ChimeraX ({citations.CHIMERAX.short}) at levels that enclose equal volumes.",
        (citations.CHIMERAX,),
    )
