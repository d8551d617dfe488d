"""`map.sampling`: how densely the views of a particle set sample each direction of Fourier space."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cryobridge.core.directional import (
    SamplingCompensation,
    direction_density,
    sampling_compensation,
    sampling_volume,
    symmetric_views,
    view_density,
    view_directions,
)
from cryobridge.core.fourier import centred_spectrum, fibonacci_directions, radius, shell_of_resolution
from cryobridge.core.volume import operators
from cryobridge.schemas.kinds.map.sampling import MapSamplingJob, SamplingOptions
from cryobridge.wrappers.formats.particles import is_cryosparc, read_views

from ...jobs.context import Context
from ...jobs.folder import REPORT_NAME
from ...jobs.limits import clipped_to_grid, within_grid
from ...jobs.runner import JobSteps
from ...loop import Progress
from ...report import figures, methods, readings
from ...report.citations import SPISONET
from ...report.page import Figure, Report, as_html
from ...report.quantities import percent

RESULT = "FSD3D.mrc"
STATEMENT = (
    "This is geometry: it counts views, not what is in the images. The 3DFSC of the half-maps tells what was measured."
)
_DIRECTIONS = 2000
_MOST_SHOWN = 100_000
"""Views, symmetric copies included, that figures and extremes are made from: more would only cost memory."""
_HARDLY = 0.1
"""Share of an even distribution's density below which a direction counts as hardly sampled; ours."""


def run(job: MapSamplingJob, context: Context) -> JobSteps:
    """Write the sampling density (the origin at the centre of the box, 1 where it is best) and the report."""
    device, folder = context.device, context.folder
    options = _within_box(job)
    angles = torch.from_numpy(read_views(job.inputs.particles)).to(device)
    group = operators(options.symmetry).to(device)
    folder.mark("read")
    yield Progress(f"read the views of {angles.shape[0]} particles", 0.2)

    half_width = math.sqrt(5.0) / options.grid
    volume = sampling_volume(
        angles, options.box, symmetry=group, half_width=half_width, most_views=options.views, seed=options.seed
    )
    yield Progress("counted the views of each direction", 0.5)
    compensation = sampling_compensation(view_directions(angles), group)
    directions = fibonacci_directions(_DIRECTIONS, device)
    views = symmetric_views(view_directions(_some(angles, _MOST_SHOWN // group.shape[0], options.seed)), group)
    density = direction_density(views.float(), directions, half_width)
    hardly = float((density < _HARDLY).double().mean())
    folder.mark("compute")
    found = f"SCF* {compensation.scf_star:.3f}, {100 * hardly:.1f} % of the directions hardly sampled"
    yield Progress(found, 0.8)
    folder.log(found)

    folder.write_map(RESULT, centred_spectrum(_limited(volume, options)), options.voxel_size_A)
    spheres = {"views": view_density(views, directions), "sampling": density}
    folder.write_text(REPORT_NAME, as_html(_report(job, angles.shape[0], directions, spheres, compensation)))
    return folder.finish(
        metrics={
            "particles": angles.shape[0],
            "scf_star": round(compensation.scf_star, 4),
            "unsampled": round(compensation.unsampled, 4),
            "hardly_sampled": round(hardly, 4),
            "least_density": round(float(density.min()), 4),
            "largest_density": round(float(density.max()), 4),
        },
        options=options.model_dump(mode="json"),
        statements=_statements(job),
        seeds={"views": options.seed},
    )


def _within_box(job: MapSamplingJob) -> SamplingOptions:
    """The options with their resolutions as they are used: defaults, and the low one, end where the box does.

    Raises
    ------
    InputInvalid
        If the high resolution was chosen and is beyond what the box can hold.
    """
    options, n, voxel_A = job.options, job.options.box, job.options.voxel_size_A
    low_A, high_A = (
        clipped_to_grid(at_A, n, voxel_A) for at_A in (options.low_resolution_A, options.high_resolution_A)
    )
    if "high_resolution_A" in options.model_fields_set:
        high_A = within_grid("high_resolution_A", options.high_resolution_A, job.inputs.particles, n, voxel_A)
    return options.model_copy(update={"low_resolution_A": low_A, "high_resolution_A": high_A})


def _limited(volume: Tensor, options: SamplingOptions) -> Tensor:
    """Full weight up to the low resolution, none beyond the high one or in the corners of the cube."""
    low, high = (
        shell_of_resolution(options.box, options.voxel_size_A, at_A)
        for at_A in (options.low_resolution_A, options.high_resolution_A)
    )
    distance = radius(options.box, volume.device)
    volume = torch.where(distance <= low, 1.0, volume)
    return torch.where(distance > min(high, options.box / 2), 0.0, volume)


def _some(angles: Tensor, most: int, seed: int) -> Tensor:
    if angles.shape[0] <= most:
        return angles
    chosen = torch.randperm(angles.shape[0], generator=torch.Generator().manual_seed(seed))[:most]
    return angles[chosen.to(angles.device)]


def _statements(job: MapSamplingJob) -> list[str]:
    """What a reader must know, whatever the numbers."""
    axis = readings.two_fold(job.options.symmetry) if is_cryosparc(job.inputs.particles) else None
    return [STATEMENT, *([] if axis is None else [axis])]


def _report(
    job: MapSamplingJob,
    particles: int,
    directions: Tensor,
    spheres: dict[str, Tensor],
    compensation: SamplingCompensation,
) -> Report:
    """Build the page; `spheres` are densities (k,) in the directions (k, 3), of views and of Fourier samples."""
    options = job.options
    directions = directions.cpu()
    sampling = readings.sampling(
        compensation.scf_star,
        compensation.unsampled,
        enough=compensation.enough,
        one_view=compensation.one_view,
    )
    least, largest = float(spheres["sampling"].min()), float(spheres["sampling"].max())
    text = (
        f"The density of samples in a direction of Fourier space is the share of views whose central slice passes "
        f"within {math.sqrt(5.0) / options.grid:.3f} of it on the unit sphere ({SPISONET.short})."
    )
    paragraphs, references = methods.write(
        [methods.Passage(text, (SPISONET,)), methods.sampling(particles, options.symmetry)]
    )
    return Report(
        title="Sampling by views",
        summary=str(sampling),
        facts={
            "particles": str(job.inputs.particles),
            "number of particles": str(particles),
            "point group": options.symmetry,
            "least sampled direction": f"{percent(least)} of an even distribution",
            "most sampled direction": f"{percent(largest)} of an even distribution",
        },
        figures=[
            Figure(
                "Distribution of views",
                figures.view_density(directions, spheres["views"].cpu()),
                readings.view_density(spheres["views"].tolist()),
                is_tile=True,
            ),
            Figure(
                "Samples by direction of Fourier space",
                figures.view_density(directions, spheres["sampling"].cpu(), "samples"),
                sampling,
            ),
        ],
        statements=_statements(job),
        methods=paragraphs,
        warnings=readings.alarms([sampling]),
        references=references,
    )
