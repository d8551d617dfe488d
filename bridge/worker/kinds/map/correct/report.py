"""The page about a correction, and what a reader of its result must know."""

from __future__ import annotations

from typing import Literal

from cryobridge.core.directional import HALF_ANGLE_DEG

from ....report import chimerax, methods, readings
from ....report.levels import contour_levels
from ....report.page import Judged, Report, as_html
from ....report.quantities import angstrom, percent
from . import words
from .correction import Correction
from .looking import DISPLAY
from .pictures import pictures
from .prepare import WHITEN_FROM_A, whitened
from .verdict import DO_NOT_USE, USE, USE_WITH_CARE

_COLOURS: dict[str, Literal["good", "careful", "bad"]] = {USE: "good", USE_WITH_CARE: "careful", DO_NOT_USE: "bad"}


def page(correction: Correction) -> str:
    """Return the page as HTML."""
    job, prepared, found = correction.job, correction.prepared, correction.found
    pair, options = prepared.pair, job.options
    voxel_A, box = pair.voxel_size_A, pair.box
    shown, judged = pictures(correction), correction.verdict
    paragraphs, references = methods.write(_passages(correction))
    return as_html(
        Report(
            title="Correction for direction-dependent resolution",
            summary=f"Corrected to {angstrom(prepared.limit_A)}; {percent(found.changed_badly)} of the power was "
            f"changed where the half-maps are measured badly, {percent(found.changed_well)} where they are measured "
            "well.",
            verdict=Judged(judged.sentence, judged.reasons, _COLOURS[judged.words]),
            facts={
                "half-map 1": str(job.inputs.half1),
                "half-map 2": str(job.inputs.half2),
                "mask": "made here, mask.mrc" if prepared.mask_made else str(job.inputs.mask or "none"),
                "3DFSC": str(job.inputs.fsc3d or "computed from the half-maps"),
                "box": f"{box} voxels of {angstrom(voxel_A)}",
                "corrected to": angstrom(prepared.limit_A),
                "method": options.method,
                "networks": _networks(correction),
                "final maps": options.combination,
                "look at first": ", ".join(correction.looking.maps),
                "change outside the mask": f"{percent(correction.measures.outside)} of what was there (RMS)",
                "time": _time(correction),
                "memory": _memory(correction),
            },
            figures=shown,
            statements=correction.statements,
            methods=paragraphs,
            warnings=[*correction.looking.complaints, *readings.alarms(figure.reading for figure in shown)],
            references=references,
        )
    )


def script(correction: Correction) -> str:
    """Return the ChimeraX script that shows the maps that are made for looking at, the one before on the left."""
    mask = correction.prepared.mask
    levels = contour_levels(correction.looking.maps, None if mask is None else mask.cpu())
    return chimerax.script(list(levels.items()))


def _time(correction: Correction) -> str:
    seconds = dict(correction.cost.seconds)
    total = seconds.pop("total", sum(seconds.values()))
    parts = ", ".join(f"{step} {spent:.1f} s" for step, spent in seconds.items())
    return f"{total:.1f} s{f' ({parts})' if parts else ''}"


def _memory(correction: Correction) -> str:
    host, gpu = correction.cost.host_bytes, correction.cost.gpu_bytes
    return f"{host / 1e9:.1f} GB at most" + ("" if gpu is None else f", {gpu / 1e9:.1f} GB on the GPU")


def _told(correction: Correction) -> Literal["noise", "cones", "given", "c_ref", "fsc3d", "none"]:
    """What said how well voxels are measured, which is not always what was asked for."""
    told = correction.prepared.ready.told_by
    if told is None:
        return correction.job.options.weighting
    return "cones" if told == "fsc" else told


def _networks(correction: Correction) -> str:
    network, count = correction.network, len(correction.trained)
    mode = "one for both half-maps" if network.mode == "shared" else "one for each half-map"
    ensemble = "" if count == 1 else f", mean of {count} from different seeds"
    steps = sum(len(one.record.losses) for one in correction.trained) // count
    learned = f"{steps} steps" if steps else "used as it came, without training"
    return f"{mode}, base width {network.base_width}, {learned}{ensemble}"


def _start(correction: Correction) -> Literal["pretrained", "given", "anew"]:
    """What the network had learned before."""
    if correction.job.inputs.network is not None:
        return "given"
    return "pretrained" if correction.job.options.begins_pretrained else "anew"


def _passages(correction: Correction) -> list[methods.Passage]:
    job, prepared, network = correction.job, correction.prepared, correction.network
    options = job.options
    measured = prepared.measured
    passages = [
        methods.fsc(masked=prepared.mask is not None, randomised_from_A=measured.randomised_from_A),
        methods.resolution_by_direction(HALF_ANGLE_DEG),
    ]
    if not prepared.fsc3d_given:
        passages.append(methods.directional_fsc("phase_cosine", options.half_angle_deg, prepared.limit_A))
    if job.inputs.reference is not None:
        passages.append(words.reference(options.reference_resolution_A))
    if whitened(options, prepared.limit_A):
        passages.append(methods.whitening("radial", WHITEN_FROM_A, prepared.limit_A))
    training = words.TrainingFacts(
        base_width=network.base_width,
        norm=network.norm,
        loss=network.loss,
        mode=network.mode,
        steps=len(correction.trained[0].record.losses),
        batch=network.batch,
        cube_size=network.cube_size,
        learning_rate=network.learning_rate,
        seed=network.seed,
        weight=_told(correction),
        ensemble=len(correction.trained),
        symmetry=options.symmetry,
        start=_start(correction),
    )
    passages += [words.correction(training), words.combination(options.combination, prepared.limit_A)]
    sharpened = correction.looking.sharpened
    if sharpened is not None:
        fitted = sharpened.guinier.line is not None
        sharp = sharpened.b_factor_A2 is not None
        passages.append(
            methods.postprocessing(sharpened.b_factor_A2, sharpened.low_pass_A, fitted=fitted, sharpened=sharp)
        )
    if DISPLAY in correction.looking.maps:
        passages.append(words.display_map())
    return [*passages, methods.display()]
