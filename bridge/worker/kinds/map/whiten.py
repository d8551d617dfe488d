"""`map.whiten`: a map whose amplitudes are made alike, shell by shell or direction by direction."""

from __future__ import annotations

import os

import torch

from cryobridge.core.fourier import (
    angular_gain,
    angular_whiten,
    forward,
    masked,
    radial_mean,
    radius,
    shell_of_resolution,
    whiten,
)
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.map.whiten import MapWhitenJob, WhitenOptions

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.limits import clipped_to_grid, within_grid
from ...jobs.runner import JobSteps
from ...jobs.tables import curve_table
from ...jobs.volumes import Volume, read_map, read_mask
from ...loop import Progress
from ...report import chimerax, figures, methods
from ...report.levels import contour_levels
from ...report.page import Figure, Report, as_html
from ...report.quantities import angstrom

RESULT = "whitened.mrc"
STATEMENT = "Whitening raises noise together with signal: the map looks sharper, and its resolution stays as it is."


def run(job: MapWhitenJob, context: Context) -> JobSteps:
    """Write the whitened map, its spectrum before and after, and the report."""
    device, folder = context.device, context.folder
    options, inputs = job.options, job.inputs
    volume = read_map(inputs.map, voxel_size_A=options.voxel_size_A)
    mask = None if inputs.mask is None else read_mask(inputs.mask, volume)
    _check(job, volume)
    low_A, high_A = _limits(options, volume)
    remarks = [*volume.remarks, *(() if mask is None else mask.remarks)]
    yield from context.remarked(remarks)
    chosen = options.model_copy(update={"low_resolution_A": low_A, "high_resolution_A": high_A})
    used = job.model_copy(update={"options": chosen})
    folder.mark("read")
    yield Progress(f"read a map of {volume.box}^3 at {volume.voxel_size_A:g} A", 0.2)

    before, weight = volume.data.to(device), None if mask is None else mask.data.to(device)
    if options.mode == "radial":
        after = whiten(before, volume.voxel_size_A, low_A, high_A, weight)
    else:
        after = angular_whiten(before, volume.voxel_size_A, low_A, high_A)
    spectra = {name: _spectrum(one, weight) for name, one in (("before", before), ("after", after))}
    band = _band(volume, low_A, high_A)
    spread = _spread_of_shells if options.mode == "radial" else _spread_of_directions
    unevenness = [spread(one, weight, band) for one in (before, after)]
    folder.mark("compute")
    found = f"amplitudes differ by a factor of {unevenness[1]:.3g}, {unevenness[0]:.3g} before"
    yield Progress(found, 0.8)
    folder.log(found)
    folder.write_map(RESULT, after, volume.voxel_size_A, volume.position)
    folder.write_text("spectrum.csv", curve_table(spectra, volume.box, volume.voxel_size_A))
    levels = contour_levels({os.path.relpath(inputs.map, folder.path): before, RESULT: after}, weight)
    folder.write_text("whitened.cxc", chimerax.script(list(levels.items())))
    folder.write_text(REPORT_NAME, as_html(_report(used, volume, unevenness, (before, after), spectra, remarks)))
    return folder.finish(
        metrics={
            "box": volume.box,
            "voxel_size_A": volume.voxel_size_A,
            "unevenness_before": round(unevenness[0], 4),
            "unevenness": round(unevenness[1], 4),
        },
        options=used.options.model_dump(mode="json"),
        statements=[STATEMENT],
    )


def _limits(options: WhitenOptions, volume: Volume) -> tuple[float, float]:
    """The low and the high resolution as they are used: a default ends where the map does.

    Raises
    ------
    InputInvalid
        If one that was chosen is beyond what the map can hold.
    """
    n, voxel_A = volume.box, volume.voxel_size_A
    low_A, high_A = (
        within_grid(name, value_A, volume.path, n, voxel_A)
        if name in options.model_fields_set
        else clipped_to_grid(value_A, n, voxel_A)
        for name, value_A in (
            ("low_resolution_A", options.low_resolution_A),
            ("high_resolution_A", options.high_resolution_A),
        )
    )
    return low_A, high_A


def _check(job: MapWhitenJob, volume: Volume) -> None:
    low, high = _band(volume, job.options.low_resolution_A, job.options.high_resolution_A)
    if high - low < 2:
        raise InputInvalid(
            f"{volume.path}: between {job.options.low_resolution_A:g} and {job.options.high_resolution_A:g} A there is "
            f"nothing to level in a box of {volume.box} at {volume.voxel_size_A:g} A (Nyquist is at "
            f"{2 * volume.voxel_size_A:g} A); give a coarser low_resolution_A"
        )
    if job.options.mode == "angular" and job.inputs.mask is not None:
        raise InputInvalid(f"{job.inputs.mask}: a mask has no part in angular whitening; leave it out")


def _band(volume: Volume, low_A: float, high_A: float) -> tuple[int, int]:
    """Return the shell that sets the level, and the first one beyond the band."""
    low, high = (int(shell_of_resolution(volume.box, volume.voxel_size_A, at_A)) for at_A in (low_A, high_A))
    return low, min(high, volume.box // 2 + 1)


def _spectrum(volume: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean amplitude by shell, (n // 2 + 1,)."""
    return radial_mean(forward(masked(volume, mask)).abs(), volume.shape[-1]).cpu()


def _spread_of_shells(volume: torch.Tensor, mask: torch.Tensor | None, band: tuple[int, int]) -> float:
    """Largest over smallest mean amplitude of the shells of the band."""
    inside = _spectrum(volume, mask)[band[0] : band[1]]
    return float(inside.max() / inside.min().clamp(min=torch.finfo(inside.dtype).tiny))


def _spread_of_directions(volume: torch.Tensor, mask: torch.Tensor | None, band: tuple[int, int]) -> float:
    """Largest over smallest mean amplitude of all cones in the band."""
    n = volume.shape[-1]
    distance = radius(n, volume.device)
    inside = (distance >= band[0]) & (distance < band[1])
    gain = angular_gain(forward(volume).abs(), n, inside, largest_gain=1e6)[inside]
    return float(gain.max() / gain.min())


def _report(
    job: MapWhitenJob,
    volume: Volume,
    unevenness: list[float],
    maps: tuple[torch.Tensor, torch.Tensor],
    spectra: dict[str, torch.Tensor],
    remarks: list[str],
) -> Report:
    """Build the page of a whitened map, with the unevenness before and after."""
    by = "shells" if job.options.mode == "radial" else "directions"
    band = f"{angstrom(job.options.low_resolution_A)} to {angstrom(job.options.high_resolution_A)}"
    summary = (
        f"From {band} the mean amplitudes of {by} differ by a factor of {unevenness[1]:.3g} at most; "
        f"it was {unevenness[0]:.3g} before."
    )
    inverse_d2 = (torch.arange(1, volume.box // 2 + 1) / (volume.box * volume.voxel_size_A)).square()
    logarithms = {name: curve[1:].log() for name, curve in spectra.items()}
    paragraphs, references = methods.write(
        [methods.whitening(job.options.mode, job.options.low_resolution_A, job.options.high_resolution_A)]
    )
    return Report(
        title="Whitening",
        summary=summary,
        facts={
            "map": str(volume.path),
            "box": f"{volume.box} voxels of {angstrom(volume.voxel_size_A)}",
            "band": band,
            f"unevenness of {by} before": f"{unevenness[0]:.3g}",
            f"unevenness of {by} after": f"{unevenness[1]:.3g}",
        },
        figures=[
            Figure(
                "Spectrum",
                figures.guinier(logarithms, inverse_d2),
                "Level in the band and as before outside it: the whitening did its work."
                if job.options.mode == "radial"
                else "Shells keep their power: only directions were made alike.",
                table="spectrum.csv",
            ),
            Figure(
                "Map before and after",
                figures.orthoslices({"before": maps[0].cpu(), "after": maps[1].cpu()}, volume.voxel_size_A),
                "Finer detail, and noise with it, stands out more after whitening.",
                is_tile=True,
            ),
        ],
        statements=[STATEMENT],
        methods=paragraphs,
        warnings=remarks,
        references=references,
    )
