"""The methods text of a report, put together from what was done; each passage brings its citations.

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


def conical_fsc(directions: int, half_angle_deg: float) -> Passage:
    """Directional FSC curves and cFAR."""
    return Passage(
        f"FSC curves were computed in double cones of {half_angle_deg:g}° half-angle about {directions} directions "
        f"({citations.FSC3D.short}); cFAR is the smallest over the largest area under them "
        f"({citations.CFAR.short}).",
        (citations.FSC3D, citations.CFAR),
    )


def sampling(views: int, symmetry: str) -> Passage:
    """SCF* of the views of particles."""
    return Passage(
        f"The sampling compensation factor SCF* was computed from {views} views with point group {symmetry} "
        f"({citations.SAMPLING.short}).",
        (citations.SAMPLING,),
    )


@dataclass(frozen=True)
class TrainingFacts:
    """What the methods text says of a training.

    base_width
        Channels of the network's first level.
    norm
        Its normalisation.
    loss
        "published" (spIsoNet's) or "improved" (ours).
    mode
        "shared": one network for both halves; "independent": one for each.
    steps, batch, cube_size, learning_rate, seed
        As used.
    weight
        What said how well Fourier voxels are measured: "c_ref" or "fsc3d", both of the 3DFSC, or "none".
    ensemble
        Networks from different seeds.
    symmetry
        Point group.
    """

    base_width: int
    norm: Literal["batch", "group", "none"]
    loss: Literal["published", "improved"]
    mode: Literal["shared", "independent"]
    steps: int
    batch: int
    cube_size: int
    learning_rate: float
    seed: int
    weight: Literal["c_ref", "fsc3d", "none"] = "fsc3d"
    ensemble: int = 1
    symmetry: str = "C1"


def correction(training: TrainingFacts) -> Passage:
    """Training of the network on the half-maps' own crops, and prediction."""
    works = [citations.SPISONET, citations.UNET3D, citations.NOISE2NOISE]
    norms = {"batch": "batch normalisation", "group": f"group normalisation ({citations.GROUP_NORM.short})"}
    if training.norm == "group":
        works.append(citations.GROUP_NORM)
    works.append(citations.ADAMW)
    network = (
        f"a 3D U-Net ({citations.UNET3D.short}) of base width {training.base_width} with "
        f"{norms.get(training.norm, 'no normalisation')}"
    )
    who = {
        "shared": "one network was trained on both half-maps, each the target of the other "
        f"({citations.NOISE2NOISE.short})",
        "independent": "each half-map had a network of its own, which never saw the other half",
    }[training.mode]
    if training.mode == "independent":
        works.remove(citations.NOISE2NOISE)
    how = {
        "published": "with the published loss",
        "improved": "with residuals weighted in Fourier space, targets held fixed, and rotated maps compared with "
        "measured data",
    }[training.loss]
    weight = {
        "c_ref": f"Where the 3DFSC is f, a Fourier voxel counts by sqrt(2f / (1 + f)) ({citations.FSC_143.short}). ",
        "fsc3d": "The 3DFSC weights what each Fourier voxel counts for. ",
        "none": "All Fourier voxels counted alike, so the network only denoises. ",
    }[training.weight]
    if training.weight == "c_ref":
        works.append(citations.FSC_143)
    text = (
        f"Anisotropy was corrected by self-supervised learning ({citations.SPISONET.short}): {network}; {who}, {how}. "
        f"{weight}Training took {training.steps} steps of {training.batch} crops of {training.cube_size} voxels a "
        f"side, with AdamW ({citations.ADAMW.short}) at a learning rate of {training.learning_rate:g}, seed "
        f"{training.seed}."
    )
    if training.symmetry.upper() != "C1":
        text += f" Point group {training.symmetry} was imposed."
    if training.ensemble > 1:
        text += f" The result is the mean of {training.ensemble} networks from different seeds."
    return Passage(text, tuple(works))


def combination(kind: Literal["fill", "published"], limit_A: float) -> Passage:
    """How the network's map and the measured one were put together."""
    beyond = f"beyond {angstrom(limit_A)} the half-maps are as they were."
    if kind == "fill":
        return Passage(
            "In each Fourier voxel the result is the measured map plus the network's map times one minus the gain of "
            f"a Wiener filter ({citations.FSC_143.short}), so what is measured well stays as measured; {beyond}",
            (citations.FSC_143,),
        )
    return Passage(
        f"The result is the network's map, brought to the amplitude spectrum of the half-map, as published "
        f"({citations.SPISONET.short}); {beyond}",
        (citations.SPISONET,),
    )


def reference(resolution_A: float) -> Passage:
    """A reference's low resolutions in both halves."""
    return Passage(
        f"Resolutions up to {angstrom(resolution_A)} of a reference map replaced those of both half-maps before "
        "training."
    )


def hold_out(half_angle_deg: float) -> Passage:
    """The directional hold-out test."""
    return Passage(
        f"For the directional hold-out test a well measured double cone of {half_angle_deg:g}° half-angle was made as "
        "bad as the worst one by adding noise to both half-maps; the correction was run on these, and its result "
        "compared inside the cone with the half-maps as they had been measured."
    )


def controls() -> Passage:
    """Noise and phase-randomised halves through the network."""
    return Passage(
        "As controls the network was given half-maps of pure noise with the measured noise's power spectrum, and the "
        f"half-maps with randomised phases ({citations.PHASE_RANDOMISATION.short}).",
        (citations.PHASE_RANDOMISATION,),
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


def combined_maps(threshold_A: float) -> Passage:
    """Two maps joined at a resolution."""
    return Passage(
        f"Shells up to {angstrom(threshold_A)} come from the first map, brought to the amplitude spectrum of the "
        f"second; all others from the second ({citations.SPISONET.short}).",
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
