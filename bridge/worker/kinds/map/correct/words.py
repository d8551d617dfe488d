"""The words of `map.correct`: what a reader must know, how the methods text tells it, what its figures show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ....report import citations
from ....report.citations import Citation, by_doi
from ....report.methods import Passage
from ....report.quantities import angstrom, in_digits, percent
from ....report.readings import Reading
from ....training.ensemble import NetworkChoice

NOISE2NOISE = Citation(
    "Lehtinen et al. 2018",
    "Lehtinen, Munkberg, Hasselgren, Laine, Karras, Aittala, Aila. Noise2Noise: learning image restoration without "
    "clean data. ICML (2018).",
    "https://arxiv.org/abs/1803.04189",
)
UNET3D = by_doi(
    "Çiçek et al. 2016",
    "Çiçek, Abdulkadir, Lienkamp, Brox, Ronneberger. 3D U-Net: learning dense volumetric segmentation from sparse "
    "annotation. MICCAI (2016).",
    "10.1007/978-3-319-46723-8_49",
)
GROUP_NORM = Citation(
    "Wu & He 2018",
    "Wu, He. Group normalization. ECCV (2018).",
    "https://arxiv.org/abs/1803.08494",
)
ADAMW = Citation(
    "Loshchilov & Hutter 2019",
    "Loshchilov, Hutter. Decoupled weight decay regularization. ICLR (2019).",
    "https://arxiv.org/abs/1711.05101",
)

_MODES = {
    "shared": (
        "One network saw both half-maps, so the corrected half-maps are not independent of each other. Their FSC is "
        "not a resolution; quote that of the maps before the correction."
    ),
    "independent": (
        "Each half-map was corrected by a network of its own that never saw the other half. The corrected half-maps "
        "share no data, but they share the method: what it prefers can raise their FSC."
    ),
}
_UNTOUCHED = (
    "The network that comes with the program was used as it is: it learned from neither half-map. What it expects of "
    "any map is the same for both, though, so the FSC of the corrected half-maps says too much; quote that of the maps "
    "before the correction."
)
_SCALED = "What the network put into each half-map was scaled by the other one, by one number for each shell."
_UNTRAINED = {
    "shared": (
        "One network corrected both half-maps as it came, without training on them; what it adds is its own in both. "
        "Their FSC is not a resolution; quote that of the maps before the correction."
    ),
    "independent": (
        "Each half-map was corrected without training, and without the other half. The corrected half-maps share no "
        "data, but they share the method: what it prefers can raise their FSC."
    ),
}
_WEIGHT = (
    "The 3DFSC that both corrections are weighted by is computed from both half-maps; it tells each network how well "
    "directions are measured, not what was measured."
)
_REFERENCE = (
    "Low resolutions of one reference were put into both half-maps; up to {resolution_A:g} Å their FSC says nothing."
)
_PRETRAINED = (
    "The network had been trained before, on data that this job does not know; if it saw the other half-map, the "
    "half-maps are not independent."
)


def independence(
    mode: Literal["shared", "independent"],
    *,
    trained: bool = True,
    weight_from_both: bool = False,
    reference_resolution_A: float | None = None,
    pretrained: bool = False,
    untouched: bool = False,
) -> tuple[str, ...]:
    """Return the statements on half-set independence that belong to how a result was made.

    Parameters
    ----------
    mode
        "shared": one network saw both; "independent": one for each.
    trained
        Whether there was a training on the half-maps; without one, the network was used as it came.
    weight_from_both
        Whether independent networks were weighted by a 3DFSC of both half-maps.
    reference_resolution_A
        Up to where a common reference was put into both halves, if there was one.
    pretrained
        Whether the network came from an earlier training.
    untouched
        Whether it is the one that comes with the program, not trained any further.
    """
    lines = [_UNTOUCHED] if untouched else [(_MODES if trained else _UNTRAINED)[mode]]
    if untouched and mode == "shared":
        lines.append(_SCALED)
    if mode == "independent" and weight_from_both:
        lines.append(_WEIGHT)
    if reference_resolution_A is not None:
        lines.append(_REFERENCE.format(resolution_A=reference_resolution_A))
    if pretrained and mode == "independent":
        lines.append(_PRETRAINED)
    return tuple(lines)


def choice(found: NetworkChoice) -> str:
    """Which network was used, and what it was chosen by."""
    trial = (
        "a well-measured direction was made as bad as the worst one, and there its FSC to the other half-map was "
        f"{in_digits(found.trained)} trained and {in_digits(found.untouched)} untouched"
    )
    if found.keeps_trained:
        return f"The network was used as trained on these half-maps: {trial}."
    return f"The network was used as it came, since training on these half-maps made it worse: {trial}."


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
        As used; no steps: the network was used as it came.
    weight
        What said how well Fourier voxels are measured: "noise" of the halves, "cones" of regularised ones, "given",
        "c_ref" or "fsc3d" (both of the 3DFSC), "none".
    ensemble
        Networks from different seeds.
    symmetry
        Point group.
    start
        "pretrained" on simulated half-maps, "given" by the user, or "anew".
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
    weight: Literal["noise", "cones", "given", "c_ref", "fsc3d", "none"] = "fsc3d"
    ensemble: int = 1
    symmetry: str = "C1"
    start: Literal["pretrained", "given", "anew"] = "anew"


def correction(training: TrainingFacts) -> Passage:
    """The network, its training on the half-maps' own crops if there was one, and prediction."""
    works = [citations.SPISONET, UNET3D]
    norms = {"batch": "batch normalisation", "group": f"group normalisation ({GROUP_NORM.short})"}
    if training.norm == "group":
        works.append(GROUP_NORM)
    network = (
        f"a 3D U-Net ({UNET3D.short}) of base width {training.base_width} with "
        f"{norms.get(training.norm, 'no normalisation')}"
    )
    if training.steps:
        text = f"Anisotropy was corrected by self-supervised learning ({citations.SPISONET.short}): {network}"
        learned = _training(training)
    else:
        text = f"Anisotropy was corrected by a network (after {citations.SPISONET.short}): {network}"
        learned = _no_training(training)
    text += f"; {learned.text}"
    if training.symmetry.upper() != "C1":
        text += f" Point group {training.symmetry} was imposed."
    if training.ensemble > 1:
        text += f" The result is the mean of {training.ensemble} networks from different seeds."
    return Passage(text, (*works, *learned.works))


def _training(training: TrainingFacts) -> Passage:
    """The rest of the sentence on a network that was trained on the half-maps."""
    works = [NOISE2NOISE, ADAMW] if training.mode == "shared" else [ADAMW]
    began = {
        "pretrained": "it began with what it had learned from simulated half-maps of random objects, and ",
        "given": "it began with what it had learned before, and ",
        "anew": "",
    }[training.start]
    who = {
        "shared": f"one network was trained on both half-maps, each the target of the other ({NOISE2NOISE.short})",
        "independent": "each half-map had a network of its own, which never saw the other half",
    }[training.mode]
    how = {
        "published": "with the published loss",
        "improved": "with residuals weighted in Fourier space, targets held fixed, and rotated maps compared with "
        "measured data",
    }[training.loss]
    counts = f"a voxel counts by sqrt(2f / (1 + f)) ({citations.FSC_143.short})"
    weight = {
        "noise": "How densely each direction was sampled was told by the power of the half-maps' difference in a cone "
        f"about it; with the signal share f that follows, {counts}, and the network sees Wiener-filtered half-maps "
        "with a level spectrum.",
        "cones": "The half-maps had been filtered before; their FSC in cones of 20° about every voxel weighs what it "
        "counts for, and the network sees them with a level spectrum.",
        "given": f"The given 3DFSC f filters what the network sees, with a level spectrum, and {counts}.",
        "c_ref": f"Where the 3DFSC is f, {counts}.",
        "fsc3d": "The 3DFSC weights what each Fourier voxel counts for.",
        "none": "All Fourier voxels counted alike, so the network only denoises.",
    }[training.weight]
    if training.weight in ("noise", "given", "c_ref"):
        works.append(citations.FSC_143)
    return Passage(
        f"{began}{who}, {how}. {weight} Training took {training.steps} steps of {training.batch} crops of "
        f"{training.cube_size} voxels a side, with AdamW ({ADAMW.short}) at a learning rate of "
        f"{training.learning_rate:g}, seed {training.seed}.",
        tuple(works),
    )


def _no_training(training: TrainingFacts) -> Passage:
    """The rest of the sentence on a network that was used as it came."""
    learned = {
        "pretrained": "It had learned before, from simulated half-maps of random objects.",
        "given": "It had learned before, on data that this job does not know.",
        "anew": "It had learned nothing before.",
    }[training.start]
    sees = {
        "noise": " How densely each direction was sampled was told by the power of the half-maps' difference in a cone "
        "about it; with the signal share that follows, the network sees Wiener-filtered half-maps with a level "
        "spectrum.",
        "cones": " The half-maps had been filtered before; the network sees them with a level spectrum.",
        "given": " The given 3DFSC filters what the network sees, with a level spectrum.",
    }.get(training.weight, "")
    return Passage(f"it was used as it came, without training on these half-maps. {learned}{sees}")


def combination(kind: Literal["fill", "published"], limit_A: float) -> Passage:
    """How the network's map and the measured one were put together."""
    if kind == "fill":
        return Passage(
            "In each Fourier voxel the result is the measured map plus the network's map times one minus the gain of "
            f"a Wiener filter ({citations.FSC_143.short}), so what is measured well stays as measured; "
            f"beyond {angstrom(limit_A)} the half-maps go on, filtered in each direction as at the limit and less with "
            "the signal-to-noise ratio that their FSC shows.",
            (citations.FSC_143,),
        )
    return Passage(
        f"The result is the network's map, brought to the amplitude spectrum of the half-map, as published "
        f"({citations.SPISONET.short}); beyond {angstrom(limit_A)} the half-maps are as they were.",
        (citations.SPISONET,),
    )


def display_map() -> Passage:
    """Amplitudes that were restored for looking at."""
    return Passage(
        "For display only, amplitudes in badly measured directions were raised towards that of the signal in well "
        f"measured ones, shell by shell ({citations.FSC_143.short}).",
        (citations.FSC_143,),
    )


def reference(resolution_A: float) -> Passage:
    """A reference's low resolutions in both halves."""
    return Passage(
        f"Resolutions up to {angstrom(resolution_A)} of a reference map replaced those of both half-maps before "
        "training."
    )


def read_shared_network(before_A: float, after_A: float) -> Reading:
    """Read the FSC of half-maps that one network corrected; both resolutions in Angstrom."""
    return Reading(
        f"The FSC of the corrected half-maps reaches {angstrom(after_A)} ({angstrom(before_A)} before). This is not a "
        "resolution: one network corrected both half-maps, so they are no longer independent. Quote "
        f"{angstrom(before_A)}."
    )


def read_independent_networks(before_A: float, after_A: float) -> Reading:
    """Read the FSC of half-maps that were corrected by a network each; both resolutions in Angstrom."""
    return Reading(
        f"The FSC of the corrected half-maps reaches {angstrom(after_A)} ({angstrom(before_A)} before). Each half-map "
        "was corrected by itself, and neither network saw the other half; what both prefer by design can still raise "
        "the FSC, so the number before is the safe one to quote."
    )


def read_sharpening(b_factor_A2: float | None, low_pass_A: float) -> Reading:
    """Read a sharpening: the B-factor that was applied (negative sharpens; None: the spectrum was levelled)."""
    end = f"; the map ends at {angstrom(low_pass_A)}."
    if b_factor_A2 is None:
        return Reading(f"The spectrum was made flat, shell by shell{end}")
    if b_factor_A2 > 0:
        return Reading(f"A B-factor of {b_factor_A2:.0f} Å² was applied, which blurs the map{end}", warns=True)
    return Reading(f"A B-factor of {b_factor_A2:.0f} Å² was applied{end}")


def read_spread(relative: float, networks: int) -> Reading:
    """Read an ensemble: median spread inside the mask over the map's standard deviation there."""
    words = f"{networks} networks from different seeds differ by {percent(relative)} of the map's own contrast"
    if relative > 0.5:
        return Reading(f"{words}: detail of that size depends on chance.", warns=True)
    return Reading(f"{words}; where the spread is bright, trust the map less.")


def read_similarity(correlation: float) -> Reading:
    """Read central sections before and after: correlation of the two maps inside the mask."""
    if not math.isfinite(correlation):
        return Reading("Central sections of all maps on one grey scale.")
    words = "barely" if correlation > 0.98 else "visibly" if correlation > 0.8 else "strongly"
    return Reading(
        f"Central sections on one grey scale; the correction changed the map {words} (correlation "
        f"{in_digits(correlation, 3)} inside the mask)."
    )
