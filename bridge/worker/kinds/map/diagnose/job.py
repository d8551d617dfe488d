"""`map.diagnose`: how well half-maps are measured by direction, and what a correction did to them."""

from __future__ import annotations

from pathlib import Path

from cryobridge.core.diagnosis import SymmetryFound, symmetry_found
from cryobridge.core.fourier import centred_spectrum
from cryobridge.core.volume import operators
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.map.diagnose import MapDiagnoseJob

from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME, OutputFolder
from ....jobs.runner import JobSteps
from ....jobs.tables import curve_table
from ....jobs.volumes import Pair, on_zero, read_map, read_pair
from ....loop import Progress, scaled
from ..measured import Measured
from .controls import controls
from .findings import Findings
from .hold_out import hold_out
from .measure import (
    change_table,
    changed,
    curve_bands,
    direction_table,
    view_table,
    views_of,
)
from .network import stored_network
from .report import notes_on, page, statements_on

_MEASURED, _HELD_OUT, _CONTROLLED = 0.2, 0.8, 0.95


def run(job: MapDiagnoseJob, context: Context) -> JobSteps:
    """Measure, judge views and correction, test a network if there is one; write tables and the report."""
    device, folder = context.device, context.folder
    options, inputs = job.options, job.inputs
    pair = read_pair(inputs, options.voxel_size_A, device)
    voxel_A, angle = pair.voxel_size_A, options.half_angle_deg
    # All that may be wrong with an input is found before anything takes time.
    others = [on_zero(read_map(path, like=pair.half1), pair.mask) for path in _corrected(job)]
    corrected = [other.data.to(device) for other in others]
    symmetry = None if options.symmetry.upper() == "C1" else operators(options.symmetry).to(device)
    views = None if inputs.particles is None else views_of(inputs.particles, symmetry, device)
    network = None if inputs.network is None else stored_network(inputs.network, device, options.seed)
    folder.mark("read")
    yield Progress(f"read two half-maps of {pair.box}^3 at {voxel_A:g} A", 0.05)

    measured = Measured(pair, inputs, device, options.limit_resolution_A, half_angle_deg=angle, seed=options.seed)
    group = _point_group(job, measured)
    yield from context.remarked([*measured.remarks, *(line for other in others for line in other.remarks)])
    folder.open()
    volume = measured.fsc3d(angle, "sum_ratio")
    directions = measured.directions
    change = None
    if corrected:
        change = changed(measured, corrected[0], corrected[1], volume, angle)
    folder.mark("measure")
    spread = directions.spread
    yield Progress(f"cFAR {directions.cfar:.2f}, {spread.best_A:.2f}-{spread.worst_A:.2f} A by direction", _MEASURED)

    held_out = tested = None
    with context.parking.holding(measured.tensors):
        if options.hold_out:
            steps = hold_out(job, measured, symmetry, context)
            held_out = yield from scaled(_MEASURED, _HELD_OUT, steps)
            folder.mark("hold_out")
            network = network or held_out.network
        if network is not None:
            steps_of_controls = controls(measured, voxel_A, network, options.seed, context.parking)
            with context.parking.holding(network.state.held):
                tested = yield from scaled(_HELD_OUT, _CONTROLLED, steps_of_controls)
            folder.mark("controls")
    found = Findings(measured, volume, group, views, change, held_out, tested)
    yield Progress("writing the report", _CONTROLLED)
    _write(pair, found, folder)
    notes = notes_on(angle, found)
    for note in notes:
        folder.log(note)
    folder.write_text(REPORT_NAME, page(job, pair, found, [*measured.remarks, *notes]))
    return folder.finish(
        metrics=found.metrics(),
        options={**options.model_dump(mode="json"), "limit_resolution_A": measured.limit_A},
        statements=[*statements_on(found), *notes],
        seeds={"phases, noise and training": options.seed},
    )


def _point_group(job: MapDiagnoseJob, measured: Measured) -> SymmetryFound:
    """Test the point group; refused only where a training would impose it."""
    found = symmetry_found(measured.half1, measured.half2, measured.mask, job.options.symmetry)
    if job.options.hold_out and found.level == "lacks":
        raise InputInvalid(
            f"{job.inputs.half1}: {found.sentence}; a hold-out test needs the point group that they have"
        )
    return found


def _corrected(job: MapDiagnoseJob) -> list[Path]:
    """Both corrected half-maps, or nothing."""
    return [path for path in (job.inputs.corrected1, job.inputs.corrected2) if path is not None]


def _write(pair: Pair, found: Findings, folder: OutputFolder) -> None:
    """Write the 3DFSC and all tables."""
    box, voxel_A = pair.box, pair.voxel_size_A
    curves = dict(found.measured.curves)
    after = None
    if found.change is not None:
        curves["after_correction"] = found.change.fsc
        after = found.change.directions
        folder.write_text("change.csv", curve_table(change_table(found.change.power), box, voxel_A))
    folder.write_map("FSC3D.mrc", centred_spectrum(found.fsc3d), voxel_A)
    folder.write_text("fsc.csv", curve_table(curves, box, voxel_A))
    folder.write_text("directional.csv", direction_table(found.measured.directions, after))
    folder.write_text("directional_fsc.csv", curve_table(curve_bands(found.measured.directions), box, voxel_A))
    if found.views is not None:
        folder.write_text("views.csv", view_table(found.views))
    if found.hold_out is not None:
        folder.write_text("hold_out.csv", curve_table(found.hold_out.curves, box, voxel_A))
    if found.controls is not None:
        folder.write_text("controls.csv", curve_table(found.controls.curves, box, voxel_A))
