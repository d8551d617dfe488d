"""The page about a 3DFSC."""

from __future__ import annotations

import torch

from cryobridge.core.directional import HALF_ANGLE_DEG
from cryobridge.schemas.kinds.map.fsc3d import MapFsc3dJob

from ....jobs.volumes import Pair
from ....report import figures, methods, readings
from ....report.page import Figure, Report, as_html
from ....report.quantities import angstrom
from ..measured import MASK_HURTS, STATEMENT, Measured, sphericity_or_none


def page(job: MapFsc3dJob, pair: Pair, measured: Measured, volume: torch.Tensor) -> str:
    """Return the page as HTML; `volume` is the 3DFSC (n, n, n // 2 + 1)."""
    options = job.options
    voxel_A, box = pair.voxel_size_A, pair.box
    volume = volume.cpu()
    directions = measured.directions
    found = directions.spread
    best_A, worst_A = found.best_A, found.worst_A
    curves = {name: curve.cpu() for name, curve in measured.curves.items()}
    fsc_reading = readings.fsc(measured.resolution_A, voxel_A, float(measured.curve[box // 2]))
    anisotropy = readings.anisotropy(best_A, worst_A, sphericity_or_none(volume))
    spread = readings.directions(best_A, worst_A, found.deviation_A)
    paragraphs, references = methods.write(
        [
            methods.fsc(masked=pair.mask is not None, randomised_from_A=measured.randomised_from_A),
            methods.directional_fsc(options.form, options.half_angle_deg, measured.limit_A),
            methods.resolution_by_direction(HALF_ANGLE_DEG),
        ]
    )
    hurts = [MASK_HURTS] if measured.mask_hurts else []
    means = {"half-map 1": pair.half1.data, "half-map 2": pair.half2.data}
    report = Report(
        title="Resolution by direction",
        summary=f"{angstrom(best_A)} in the best direction, {angstrom(worst_A)} in the worst; "
        f"{angstrom(measured.resolution_A)} over all (FSC 0.143).",
        facts={
            "half-map 1": str(job.inputs.half1),
            "half-map 2": str(job.inputs.half2),
            "mask": str(job.inputs.mask or "none"),
            "box": f"{box} voxels of {angstrom(voxel_A)}",
            "computed to": angstrom(measured.limit_A),
            "half-angle of the 3DFSC's cone": f"{options.half_angle_deg:g}°",
            "half-angle of the cones of the resolutions": f"{HALF_ANGLE_DEG:g}°",
        },
        figures=[
            Figure("Fourier shell correlation", figures.fsc_curves(curves, voxel_A, box), fsc_reading, table="fsc.csv"),
            Figure("3DFSC, central sections", figures.fsc3d_slices(volume, voxel_A), anisotropy, is_tile=True),
            Figure(
                "Resolution by direction",
                figures.resolution_sphere(directions.vectors.cpu(), directions.resolutions_A.cpu()),
                spread,
            ),
            Figure(
                "The half-maps",
                figures.orthoslices(means, voxel_A),
                "Both half-maps at the same contrast; they should look alike.",
            ),
        ],
        statements=[STATEMENT],
        methods=paragraphs,
        warnings=list(dict.fromkeys([*measured.remarks, *hurts, *readings.alarms([fsc_reading, anisotropy, spread])])),
        references=references,
    )
    return as_html(report)
