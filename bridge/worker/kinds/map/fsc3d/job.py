"""`map.fsc3d`: the Fourier shell correlation of two half-maps by direction."""

from __future__ import annotations

from cryobridge.core.fourier import centred_spectrum
from cryobridge.schemas.kinds.map.fsc3d import MapFsc3dJob

from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME
from ....jobs.runner import JobSteps
from ....jobs.tables import curve_table
from ....jobs.volumes import read_pair
from ....loop import Progress
from ..measured import MASK_HURTS, STATEMENT, Measured, sphericity_or_none
from . import report as fsc3d_report


def run(job: MapFsc3dJob, context: Context) -> JobSteps:
    """Compute, write `FSC3D.mrc` (the origin at the centre of the box), `fsc.csv` and the report."""
    device, folder = context.device, context.folder
    options = job.options
    pair = read_pair(job.inputs, options.voxel_size_A, device)
    folder.mark("read")
    yield Progress(f"read two half-maps of {pair.box}^3 at {pair.voxel_size_A:g} A", 0.2)
    measured = Measured(pair, job.inputs, device, options.limit_resolution_A)
    yield from context.remarked(measured.remarks)
    folder.open()
    volume = measured.fsc3d(options.half_angle_deg, options.form, keep_high_resolution=options.keep_high_resolution)
    spread = measured.directions.spread
    folder.mark("compute")
    yield Progress(f"3DFSC to {measured.limit_A:.2f} A: {spread.best_A:.2f}-{spread.worst_A:.2f} A by direction", 0.8)
    folder.write_map("FSC3D.mrc", centred_spectrum(volume), pair.voxel_size_A)
    folder.write_text("fsc.csv", curve_table({"fsc": measured.curve, **measured.curves}, pair.box, pair.voxel_size_A))
    folder.write_text(REPORT_NAME, fsc3d_report.page(job, pair, measured, volume))
    folder.mark("report")
    metrics = {
        "box": pair.box,
        "voxel_size_A": pair.voxel_size_A,
        "resolution_A": measured.resolution_A,
        "limit_resolution_A": measured.limit_A,
        "best_direction_A": spread.best_A,
        "worst_direction_A": spread.worst_A,
        "sphericity_0.5": sphericity_or_none(volume),
    }
    return folder.finish(
        metrics=metrics,
        options={**options.model_dump(mode="json"), "limit_resolution_A": measured.limit_A},
        statements=[STATEMENT, *([MASK_HURTS] if measured.mask_hurts else [])],
    )
