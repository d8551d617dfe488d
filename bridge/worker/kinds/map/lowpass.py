"""`map.lowpass`: a map without the detail beyond a resolution."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from cryobridge.core.fourier import (
    forward,
    lowpass,
    lowpass_raised_cosine,
    radial_mean,
    shell_of_resolution,
)
from cryobridge.schemas.kinds.map.lowpass import LowpassOptions, MapLowpassJob

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.limits import within_grid
from ...jobs.runner import JobSteps
from ...jobs.tables import curve_table
from ...jobs.volumes import Volume, read_map
from ...loop import Progress
from ...report import chimerax, figures, methods
from ...report.citations import SPISONET
from ...report.levels import contour_levels
from ...report.page import Figure, Report, as_html
from ...report.quantities import angstrom, percent

RESULT = "lowpassed.mrc"
STATEMENT = (
    "Detail was left out, none was added: the map looks smoother, and says nothing beyond the resolution it was cut at."
)


def run(job: MapLowpassJob, context: Context) -> JobSteps:
    """Write the map up to the resolution, its spectrum before and after, and the report."""
    device, folder, options = context.device, context.folder, job.options
    volume = read_map(job.inputs.map, voxel_size_A=options.voxel_size_A)
    n, voxel_A = volume.box, volume.voxel_size_A
    resolution_A = within_grid("resolution_A", options.resolution_A, volume.path, n, voxel_A)
    options = options.model_copy(update={"resolution_A": resolution_A})
    shell = shell_of_resolution(n, voxel_A, resolution_A)
    yield from context.remarked(volume.remarks)
    folder.mark("read")
    yield Progress(f"read a map of {n}^3 at {voxel_A:g} A", 0.2)

    before = volume.data.to(device)
    after = _filtered(before, voxel_A, options)
    spectra = {"before": _spectrum(before), "after": _spectrum(after)}
    kept = _share_of_power(before, after)
    folder.mark("compute")
    found = f"cut at shell {shell:.1f} of {n // 2}, {percent(kept)} of the power is left"
    yield Progress(found, 0.8)
    folder.log(found)
    folder.write_map(RESULT, after, voxel_A, volume.position)
    folder.write_text("spectrum.csv", curve_table({**spectra, "gain": _gain(spectra)}, n, voxel_A))
    levels = contour_levels({os.path.relpath(job.inputs.map, folder.path): before, RESULT: after})
    folder.write_text("lowpassed.cxc", chimerax.script(list(levels.items())))
    folder.write_text(REPORT_NAME, as_html(_report(job, volume, after.cpu(), spectra, kept)))
    return folder.finish(
        metrics={"box": n, "voxel_size_A": voxel_A, "shell": round(shell, 2), "power_kept": round(kept, 6)},
        options={**options.model_dump(mode="json"), "edge_shells": options.width},
        statements=[STATEMENT],
    )


def passage(options: LowpassOptions) -> methods.Passage:
    """What was done, for the methods text."""
    at = angstrom(options.resolution_A)
    if options.edge == "ramp":
        return methods.Passage(
            f"The map was low-passed by a linear ramp of {options.width} shells that ends at {at} ({SPISONET.short}).",
            (SPISONET,),
        )
    return methods.Passage(f"The map was low-passed at {at} by a raised cosine {options.width} shells wide.")


def _filtered(volume: Tensor, voxel_size_A: float, options: LowpassOptions) -> Tensor:
    """The map (n, n, n) under the filter that was chosen."""
    if options.edge == "ramp":
        return lowpass(volume, voxel_size_A, options.resolution_A, edge=options.width)
    return lowpass_raised_cosine(volume, voxel_size_A, options.resolution_A, width=options.width)


def _spectrum(volume: Tensor) -> Tensor:
    """Mean amplitude of a map (n, n, n) by shell, (n // 2 + 1,)."""
    return radial_mean(forward(volume).abs(), volume.shape[-1]).cpu()


def _gain(spectra: dict[str, Tensor]) -> Tensor:
    """Amplitude after over that before, by shell; 0 where there was none."""
    before, after = spectra["before"], spectra["after"]
    return torch.where(before > 0, after / before.clamp(min=torch.finfo(before.dtype).tiny), 0.0)


def _share_of_power(before: Tensor, after: Tensor) -> float:
    """Power after over that before, the mean of the map left out of both."""
    first, second = before.double(), after.double()
    return float((second - second.mean()).square().sum() / (first - first.mean()).square().sum())


def _report(job: MapLowpassJob, volume: Volume, after: Tensor, spectra: dict[str, Tensor], kept: float) -> Report:
    """Build the page; `after` is the map (n, n, n) on the host, `kept` the share of its power that is left."""
    options, at = job.options, angstrom(job.options.resolution_A)
    # Beyond the edge there is nothing, whose logarithm no figure can show.
    floor = 1e-6 * float(spectra["before"][1:].max())
    logarithms = {name: curve[1:].clamp(min=floor).log() for name, curve in spectra.items()}
    inverse_d2 = (torch.arange(1, volume.box // 2 + 1) / (volume.box * volume.voxel_size_A)).square()
    paragraphs, references = methods.write([passage(options)])
    shape = "raised cosine" if options.edge == "raised_cosine" else "linear ramp"
    return Report(
        title="Low-passed map",
        summary=f"Nothing finer than {at} is left; what is left holds {percent(kept)} of the map's power.",
        facts={
            "map": str(volume.path),
            "box": f"{volume.box} voxels of {angstrom(volume.voxel_size_A)}",
            "resolution": at,
            "edge": f"{shape}, {options.width} shells",
        },
        figures=[
            Figure(
                "Spectrum",
                figures.guinier(logarithms, inverse_d2),
                f"As before up to {at}, and down to nothing within the width of the edge.",
                table="spectrum.csv",
            ),
            Figure(
                "Map before and after",
                figures.orthoslices({"before": volume.data, "low-passed": after}, volume.voxel_size_A),
                "Outlines stay, fine detail and grain are gone.",
                is_tile=True,
            ),
        ],
        statements=[STATEMENT],
        methods=paragraphs,
        warnings=volume.remarks,
        references=references,
    )
