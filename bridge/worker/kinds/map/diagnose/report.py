"""The page about a pair of half-maps and a correction, and what a reader must be told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from cryobridge.core.directional import first_judged_shell
from cryobridge.core.fourier import resolution
from cryobridge.schemas.kinds.map.diagnose import MapDiagnoseJob

from ....jobs.volumes import Pair
from ....report import figures, methods, readings
from ....report.page import Figure, Report, as_html
from ....report.quantities import angstrom, in_digits, percent
from ....report.support import read_consistency
from ..measured import MASK_HURTS, STATEMENT, sphericity_or_none
from . import words
from .controls import Controls
from .findings import Findings, xyz
from .hold_out import HoldOut
from .measure import Changed, Views

AFTER_CORRECTION = (
    "The FSC between corrected half-maps, over all or by direction, is shown as it is and is not a resolution: this "
    "job does not know whether one network saw both half-maps."
)


def statements_on(found: Findings) -> list[str]:
    """What a reader must know, whatever the numbers."""
    return [
        STATEMENT,
        *([AFTER_CORRECTION, *read_consistency(found.change.consistency)] if found.change is not None else []),
        *([words.hold_out_worth()] if found.hold_out is not None else []),
    ]


def notes_on(half_angle_deg: float, found: Findings) -> list[str]:
    """What a reader should look at before trusting the numbers."""
    notes, measured = [], found.measured
    if first_judged_shell(half_angle_deg) >= measured.limit_shell:
        notes.append(
            f"A cone of {half_angle_deg:g}° half-angle holds hardly a voxel up to {angstrom(measured.limit_A)}: the "
            "numbers by direction mean nothing; take a wider cone."
        )
    if measured.mask is None:
        notes.append("No mask was given: the solvent's noise counts, and every number reads worse than it is.")
    elif measured.mask_hurts:
        notes.append(MASK_HURTS)
    elif measured.randomised_from is None:
        notes.append("The FSC stays so high that no phases could be randomised: nothing is corrected for the mask.")
    if found.symmetry.sentence is not None:
        notes.append(f"Look at the symmetry: {found.symmetry.sentence}. What was made with it here means nothing then.")
    if found.hold_out is not None and not math.isfinite(found.hold_out.before):
        notes.append(
            "The hold-out test says nothing here: no well measured direction could be made worse, since the worst one "
            "is as good."
        )
    return notes


@dataclass(frozen=True)
class _Panel:
    """A figure and what can be read off it."""

    title: str
    png: bytes
    readings: tuple[str, ...]
    table: str = ""
    is_tile: bool = False

    def figure(self) -> Figure:
        return Figure(self.title, self.png, " ".join(self.readings), self.table, self.is_tile)


def page(job: MapDiagnoseJob, pair: Pair, found: Findings, notes: Sequence[str]) -> str:
    """Return the page as HTML."""
    voxel_A, box = pair.voxel_size_A, pair.box
    spread, cfar = found.measured.directions.spread, found.measured.directions.cfar
    panels = [_of_agreement(found, voxel_A, box), *_of_directions(found, voxel_A, box)]
    scf_words = ""
    if found.views is not None:
        panels.append(_of_views(found.views))
        scf_words = f", SCF* {in_digits(found.views.compensation.scf_star)}"
    if found.change is not None:
        panels += _of_change(found.change, found, voxel_A, box)
    if found.hold_out is not None:
        panels += _of_hold_out(found.hold_out, voxel_A, box)
    if found.controls is not None:
        panels.append(_of_controls(found.controls, voxel_A, box))
    halves = {"half-map 1": pair.half1.data, "half-map 2": pair.half2.data}
    alike = "Both half-maps at the same contrast; they should look alike."
    panels.append(_Panel("The half-maps", figures.orthoslices(halves, voxel_A), (alike,)))
    paragraphs, references = methods.write(_passages(job, found))
    report = Report(
        title="Diagnosis of half-maps",
        summary=f"{angstrom(found.measured.resolution_A)} over all directions (FSC 0.143), {angstrom(spread.best_A)} "
        f"in the best and {angstrom(spread.worst_A)} in the worst; cFAR {in_digits(cfar)}{scf_words}.",
        facts=_facts(job, pair, found),
        figures=[panel.figure() for panel in panels],
        statements=statements_on(found),
        methods=paragraphs,
        warnings=[*notes, *readings.alarms(line for panel in panels for line in panel.readings)],
        references=references,
    )
    return as_html(report)


def _of_agreement(found: Findings, voxel_A: float, box: int) -> _Panel:
    agreed = found.measured
    curves = {name: curve.cpu() for name, curve in agreed.curves.items()}
    lines: list[str] = [readings.fsc(agreed.resolution_A, voxel_A, float(agreed.curve[box // 2]))]
    if "masked" in curves and not agreed.mask_hurts:
        masked_A = resolution(curves["masked"], voxel_A, 0.143, box=box)
        lines.append(readings.mask_effect(masked_A, agreed.resolution_A))
    return _Panel("Fourier shell correlation", figures.fsc_curves(curves, voxel_A, box), tuple(lines), "fsc.csv")


def _of_directions(found: Findings, voxel_A: float, box: int) -> list[_Panel]:
    directions, spread = found.measured.directions, found.measured.directions.spread
    scf_star = (
        found.views.compensation.scf_star if found.views is not None and found.views.compensation.enough else None
    )
    volume, vectors = found.fsc3d.cpu(), directions.vectors.cpu()
    return [
        _Panel(
            "FSC by direction",
            figures.directional_curves(directions.curves.cpu(), voxel_A, box),
            (
                readings.directions(spread.best_A, spread.worst_A, spread.deviation_A),
                words.read_cfar(directions.cfar, scf_star),
            ),
            "directional_fsc.csv",
            is_tile=True,
        ),
        _Panel(
            "3DFSC, central sections",
            figures.fsc3d_slices(volume, voxel_A),
            (readings.anisotropy(spread.best_A, spread.worst_A, sphericity_or_none(volume)),),
        ),
        _Panel(
            "Resolution by direction",
            figures.resolution_sphere(vectors, directions.resolutions_A.cpu()),
            (
                f"The worst direction is {_words(vectors[directions.worst])}, the best "
                f"{_words(vectors[directions.best])} (x, y, z).",
            ),
            "directional.csv",
        ),
    ]


def _of_views(views: Views) -> _Panel:
    density = views.density.cpu()
    return _Panel(
        "Views of the particles",
        figures.view_density(views.vectors.cpu(), density),
        (
            readings.view_density(density.tolist()),
            readings.sampling(
                views.compensation.scf_star,
                views.compensation.unsampled,
                enough=views.compensation.enough,
                one_view=views.compensation.one_view,
            ),
        ),
        "views.csv",
    )


def _of_change(change: Changed, found: Findings, voxel_A: float, box: int) -> list[_Panel]:
    axis = "the worst direction"
    before, after = found.measured.curve.cpu(), change.fsc.cpu()
    return [
        _Panel(
            "What the correction changed",
            figures.change_map(change.power.cpu(), voxel_A, box, axis=axis),
            (
                *read_consistency(change.consistency),
                readings.change(change.well, change.badly),
                f"Inside the mask the maps differ by {percent(change.moved)} of the map's own contrast.",
            ),
            "change.csv",
        ),
        _Panel(
            "FSC after the correction: no resolution",
            figures.fsc_curves({"as measured": before, "after correction": after}, voxel_A, box),
            (AFTER_CORRECTION,),
        ),
    ]


def _of_hold_out(held_out: HoldOut, voxel_A: float, box: int) -> list[_Panel]:
    curves = {name.replace("_", " "): curve.cpu() for name, curve in held_out.curves.items()}
    where = (
        f"Up to {held_out.spoilt_deg:g}° from {_words(held_out.axis)} all was made as bad as about "
        f"{_words(held_out.like)} (x, y, z)."
    )
    panels = [
        _Panel(
            "Directional hold-out",
            figures.fsc_curves(curves, voxel_A, box, thresholds=(0.143,)),
            (where, words.read_hold_out(held_out.before, held_out.after)),
            "hold_out.csv",
        )
    ]
    if held_out.losses:
        losses = held_out.losses
        panels.append(_Panel("Training of the hold-out test", figures.loss_curve(losses), (readings.loss(losses),)))
    return panels


def _of_controls(controls: Controls, voxel_A: float, box: int) -> _Panel:
    curves = {name.replace("_", " "): curve.cpu() for name, curve in controls.curves.items()}
    lines: list[str] = [words.read_noise_control(controls.noise_before, controls.noise_after)]
    if math.isfinite(controls.true_phases):
        lines.append(words.read_phase_control(controls.true_phases, controls.random_phases))
    return _Panel(
        "Controls: halves without a signal, through the network",
        figures.fsc_curves(curves, voxel_A, box, thresholds=(0.143,)),
        tuple(lines),
        "controls.csv",
    )


def _facts(job: MapDiagnoseJob, pair: Pair, found: Findings) -> dict[str, str]:
    agreed, spread = found.measured, found.measured.directions.spread
    facts = {found.key: str(found.path) for found in job.paths()}
    facts |= {
        "box": f"{pair.box} voxels of {angstrom(pair.voxel_size_A)}",
        "judged to": angstrom(agreed.limit_A),
        "half-angle of the cone": f"{job.options.half_angle_deg:g}°",
        "resolution, FSC 0.143": angstrom(agreed.resolution_A),
        "resolution, FSC 0.5": angstrom(found.half_A),
        "cFAR": in_digits(found.measured.directions.cfar),
        "resolution by direction": f"mean {angstrom(spread.mean_A)}, standard deviation "
        f"{in_digits(spread.deviation_A)} Å",
        "5 %, 50 %, 95 % of directions": f"{angstrom(spread.percentile_5_A)}, {angstrom(spread.median_A)}, "
        f"{angstrom(spread.percentile_95_A)}",
    }
    sphericity = sphericity_or_none(found.fsc3d)
    if sphericity is not None:
        facts["sphericity at 0.5"] = in_digits(sphericity)
    if found.views is not None:
        facts["particles' views"] = f"{found.views.count}, point group {job.options.symmetry}"
        facts["SCF, SCF*"] = (
            f"{in_digits(found.views.compensation.scf)}, {in_digits(found.views.compensation.scf_star)}"
        )
    if found.controls is not None:
        facts["power of noise after the network"] = f"{in_digits(found.controls.noise_power)} of that before"
    return facts


def _passages(job: MapDiagnoseJob, found: Findings) -> list[methods.Passage]:
    options, measured = job.options, found.measured
    passages = [
        methods.fsc(masked=measured.mask is not None, randomised_from_A=measured.randomised_from_A),
        methods.directional_fsc("sum_ratio", options.half_angle_deg, measured.limit_A),
        words.conical_fsc(len(found.measured.directions.vectors), options.half_angle_deg),
    ]
    if found.views is not None:
        passages.append(methods.sampling(found.views.count, options.symmetry))
    if found.hold_out is not None:
        passages.append(words.hold_out(options.half_angle_deg))
    if found.controls is not None:
        passages.append(words.controls())
    return passages


def _words(vector: Tensor) -> str:
    return "({:.2f}, {:.2f}, {:.2f})".format(*xyz(vector))
