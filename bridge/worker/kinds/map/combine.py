"""`map.combine`: the low resolutions of one map and the high resolutions of another as one map."""

from __future__ import annotations

import os

import torch

from cryobridge.core.fourier import combine, fsc, shell_of_resolution
from cryobridge.schemas.kinds.map.combine import MapCombineJob

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.limits import within_grid
from ...jobs.runner import JobSteps
from ...jobs.tables import curve_table
from ...jobs.volumes import Volume, read_map, read_mask
from ...loop import Progress
from ...report import chimerax, figures, methods
from ...report.citations import SPISONET
from ...report.levels import contour_levels
from ...report.page import Figure, Report, as_html
from ...report.quantities import angstrom

RESULT = "combined.mrc"
STATEMENT = (
    "Each resolution of the result comes from one of two maps: its FSC with either of them, or with anything made from "
    "them, says nothing about its resolution."
)


def run(job: MapCombineJob, context: Context) -> JobSteps:
    """Write the combined map, its agreement with both maps, and the report."""
    device, folder = context.device, context.folder
    threshold_A = job.options.threshold_resolution_A
    high = read_map(job.inputs.high, voxel_size_A=job.options.voxel_size_A)
    low = read_map(job.inputs.low, like=high)
    mask = None if job.inputs.mask is None else read_mask(job.inputs.mask, high)
    n, voxel_A = high.box, high.voxel_size_A
    threshold_A = within_grid("threshold_resolution_A", threshold_A, high.path, n, voxel_A, first_shell=2)
    threshold = shell_of_resolution(n, voxel_A, threshold_A)
    remarks = [line for one in (high, low, mask) if one is not None for line in one.remarks]
    yield from context.remarked(remarks)
    folder.mark("read")
    yield Progress(f"read two maps of {n}^3 at {voxel_A:g} A", 0.2)

    first, second = low.data.to(device), high.data.to(device)
    weight = None if mask is None else mask.data.to(device)
    joined = combine(first, second, voxel_A, threshold_A, weight)
    curves = {"low": fsc(joined, first).cpu(), "high": fsc(joined, second).cpu(), "between": fsc(first, second).cpu()}
    shell = int(threshold)
    shares = {
        "fsc_with_low_below": float(curves["low"][1 : max(2, shell - 5)].mean()),
        "fsc_with_high_beyond": float(curves["high"][shell + 1 :].mean()) if shell < n // 2 else 1.0,
    }
    folder.mark("compute")
    found = f"joined at shell {threshold:.1f} of {n // 2}"
    yield Progress(found, 0.8)
    folder.log(found)
    folder.write_map(RESULT, joined, voxel_A, high.position)
    folder.write_text("fsc.csv", curve_table(curves, n, voxel_A))
    maps = {"low": first.cpu(), "high": second.cpu(), "combined": joined.cpu()}
    files = [os.path.relpath(path, folder.path) for path in (job.inputs.low, job.inputs.high)]
    levels = contour_levels(dict(zip((*files, RESULT), (first, second, joined), strict=True)), weight)
    folder.write_text("combined.cxc", chimerax.script(list(levels.items())))
    folder.write_text(REPORT_NAME, as_html(_report(job, high, maps, curves, remarks)))
    metrics = {"box": n, "voxel_size_A": voxel_A, "threshold_shell": round(threshold, 2)}
    return folder.finish(
        metrics=metrics | {name: round(value, 4) for name, value in shares.items()},
        options={**job.options.model_dump(mode="json"), "threshold_resolution_A": threshold_A},
        statements=[STATEMENT],
    )


def _report(
    job: MapCombineJob,
    high: Volume,
    maps: dict[str, torch.Tensor],
    curves: dict[str, torch.Tensor],
    remarks: list[str],
) -> Report:
    """Build the page of a combined map."""
    at = angstrom(job.options.threshold_resolution_A)
    shown = {
        "combined with the low map": curves["low"],
        "combined with the high map": curves["high"],
        "low map with high map": curves["between"],
    }
    paragraphs, references = methods.write([passage(job.options.threshold_resolution_A)])
    return Report(
        title="Two maps combined",
        summary=f"Resolutions coarser than {at} are those of the low map, finer ones those of the high map.",
        facts={
            "low map": str(job.inputs.low),
            "high map": str(job.inputs.high),
            "threshold": at,
            "box": f"{high.box} voxels of {angstrom(high.voxel_size_A)}",
        },
        figures=[
            Figure(
                "Where each map is found in the result",
                figures.fsc_curves(shown, high.voxel_size_A, high.box, thresholds=()),
                f"The result is the low map up to a few shells before {at} and the high map beyond.",
                table="fsc.csv",
            ),
            Figure(
                "Maps",
                figures.orthoslices(maps, high.voxel_size_A),
                "Shapes come from the low map, detail from the high map.",
                is_tile=True,
            ),
        ],
        statements=[STATEMENT],
        methods=paragraphs,
        warnings=remarks,
        references=references,
    )


def passage(threshold_A: float) -> methods.Passage:
    """Two maps joined at a resolution."""
    return methods.Passage(
        f"Shells up to {angstrom(threshold_A)} come from the first map, brought to the amplitude spectrum of the "
        f"second; all others from the second ({SPISONET.short}).",
        (SPISONET,),
    )
