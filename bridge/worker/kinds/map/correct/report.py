"""The page about a correction, and what a reader of its result must know."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from cryobridge.core.directional import HALF_ANGLE_DEG
from cryobridge.core.fourier import last_shell, lowpass, resolution
from cryobridge.core.relion import Sharpened
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.kinds.map.correct import MapCorrectJob

from ....report import chimerax, figures, methods, readings
from ....report.levels import contour_levels
from ....report.page import Figure, Report, as_html
from ....report.quantities import angstrom, percent
from ....training.ensemble import Trained
from ..measured import sphericity_or_none
from . import words
from .outputs import CorrectedPair
from .prepare import WHITEN_FROM_A, Prepared, whitened


@dataclass(frozen=True)
class Correction:
    """A finished correction, and all it was made with.

    trained
        The networks, at least one.
    network
        Options of the training as used.
    sharpened
        The sharpened map, if one was asked for and could be made.
    complaints
        What went otherwise than was asked for.
    """

    job: MapCorrectJob
    prepared: Prepared
    trained: list[Trained]
    found: CorrectedPair
    network: CorrectionOptions
    sharpened: Sharpened | None
    complaints: list[str]

    @property
    def statements(self) -> list[str]:
        """What a reader must know whatever the result."""
        inputs = self.job.inputs
        lines = words.independence(
            self.network.mode,
            weight_from_both=not self.prepared.fsc3d_given,
            reference_resolution_A=None if inputs.reference is None else self.job.options.reference_resolution_A,
            pretrained=inputs.network is not None,
        )
        return [*lines, *self.prepared.choices]


def page(correction: Correction) -> str:
    """Return the page as HTML."""
    job, prepared, found = correction.job, correction.prepared, correction.found
    pair, options = prepared.pair, job.options
    voxel_A, box = pair.voxel_size_A, pair.box
    shown = [_maps(correction), *_spread(correction), *_agreement(correction), *_training(correction)]
    shown += [_change(correction), *_sharpening(correction)]
    paragraphs, references = methods.write(_passages(correction))
    return as_html(
        Report(
            title="Correction for direction-dependent resolution",
            summary=f"Corrected to {angstrom(prepared.limit_A)}; {percent(found.changed_badly)} of the power was "
            f"changed where the half-maps are measured badly, {percent(found.changed_well)} where they are measured "
            "well.",
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
            },
            figures=shown,
            statements=correction.statements,
            methods=paragraphs,
            warnings=[*correction.complaints, *readings.alarms(figure.reading for figure in shown)],
            references=references,
        )
    )


def script(correction: Correction, folder: Path) -> str:
    """Return the ChimeraX script that shows half-map 1, the corrected map and the sharpened one."""
    half1 = correction.job.inputs.half1
    maps = {os.path.relpath(half1, folder): correction.prepared.pair.half1.data, "corrected.mrc": correction.found.mean}
    if correction.sharpened is not None:
        maps["postprocessed.mrc"] = correction.sharpened.volume.cpu()
    mask = correction.prepared.mask
    return chimerax.script(list(contour_levels(maps, None if mask is None else mask.cpu()).items()))


def _maps(correction: Correction) -> Figure:
    prepared, found = correction.prepared, correction.found
    voxel_A, limit_A = prepared.pair.voxel_size_A, prepared.limit_A
    before = (prepared.pair.half1.data + prepared.pair.half2.data) / 2
    maps = {"before": before, "corrected": found.mean}
    return Figure(
        f"Mean of the half-maps before and after, to {angstrom(limit_A)}",
        figures.orthoslices({name: lowpass(one, voxel_A, limit_A) for name, one in maps.items()}, voxel_A),
        words.read_similarity(found.correlation),
    )


def _spread(correction: Correction) -> list[Figure]:
    found = correction.found
    if found.spread is None:
        return []
    picture = figures.spread_slices(found.mean, found.spread, correction.prepared.pair.voxel_size_A)
    reading = words.read_spread(found.relative_spread, len(correction.trained))
    return [Figure("How far the networks agree", picture, reading)]


def _agreement(correction: Correction) -> list[Figure]:
    prepared, found = correction.prepared, correction.found
    voxel_A, box = prepared.pair.voxel_size_A, prepared.pair.box
    shared = correction.network.mode == "shared"
    before_A = prepared.measured.resolution_A
    after_A = resolution(found.fsc_after, voxel_A, 0.143, box=box)
    read = words.read_shared_network if shared else words.read_independent_networks
    curves = {
        "half-maps": prepared.measured.curve.cpu(),
        "corrected, not a resolution" if shared else "corrected, a network each": found.fsc_after,
    }
    volume = prepared.fsc3d.cpu()
    directions = prepared.measured.directions
    spread = directions.spread
    best_A, worst_A = spread.best_A, spread.worst_A
    return [
        Figure(
            "Fourier shell correlation before and after",
            figures.fsc_curves(curves, voxel_A, box),
            read(before_A, after_A),
        ),
        Figure(
            "3DFSC of the half-maps, central sections",
            figures.fsc3d_slices(volume, voxel_A),
            readings.anisotropy(best_A, worst_A, sphericity_or_none(volume)),
        ),
        Figure(
            "Resolution of the half-maps by direction",
            figures.resolution_sphere(directions.vectors.cpu(), directions.resolutions_A.cpu()),
            readings.directions(best_A, worst_A, spread.deviation_A),
        ),
    ]


def _training(correction: Correction) -> list[Figure]:
    first = correction.trained[0].record
    if not first.losses:
        return []
    title = "Training" if len(correction.trained) == 1 else "Training of the first network"
    warm = correction.job.inputs.network is not None
    picture = figures.loss_curve(first.losses, first.held_out, correction.network.held_out_every)
    return [Figure(title, picture, readings.loss(first.losses, first.held_out, warm=warm))]


def _change(correction: Correction) -> Figure:
    prepared, found = correction.prepared, correction.found
    axis = ", ".join(f"{value:.2f}" for value in found.axis.flip(0).tolist())
    last = last_shell(prepared.pair.box, prepared.pair.voxel_size_A, prepared.limit_A)
    return Figure(
        f"What was changed, by shell and by angle to the worst direction (x, y, z = {axis})",
        figures.change_map(
            found.change[: last + 1], prepared.pair.voxel_size_A, prepared.pair.box, axis="the worst direction"
        ),
        readings.change(found.changed_well, found.changed_badly),
    )


def _sharpening(correction: Correction) -> list[Figure]:
    sharpened = correction.sharpened
    if sharpened is None or sharpened.b_factor_A2 is None:
        return []
    plot = sharpened.guinier
    spectra: dict[str, Tensor] = {
        "corrected": plot.averaged.cpu(),
        "weighted by FSC": plot.weighted.cpu(),
        "sharpened": plot.sharpened.cpu(),
    }
    line = None if plot.line is None else (plot.line.intercept, plot.line.slope)
    picture = figures.guinier(spectra, plot.inverse_d2.cpu(), line, None)
    return [Figure("Guinier plot", picture, words.read_sharpening(sharpened.b_factor_A2, sharpened.low_pass_A))]


def _networks(correction: Correction) -> str:
    network, count = correction.network, len(correction.trained)
    mode = "one for both half-maps" if network.mode == "shared" else "one for each half-map"
    ensemble = "" if count == 1 else f", mean of {count} from different seeds"
    steps = sum(len(one.record.losses) for one in correction.trained) // count
    return f"{mode}, base width {network.base_width}, {steps} steps{ensemble}"


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
        weight=options.weighting,
        ensemble=len(correction.trained),
        symmetry=options.symmetry,
        start="pretrained" if options.begins_pretrained and job.inputs.network is None else "anew",
    )
    passages += [words.correction(training), words.combination(options.combination, prepared.limit_A)]
    sharpened = correction.sharpened
    if sharpened is not None:
        fitted = sharpened.guinier.line is not None
        sharp = sharpened.b_factor_A2 is not None
        passages.append(
            methods.postprocessing(sharpened.b_factor_A2, sharpened.low_pass_A, fitted=fitted, sharpened=sharp)
        )
    return [*passages, methods.display()]
