"""`particles.backproject`: a map and two half-maps of particles whose poses are known."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.particles import HalfSums
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.particles.backproject import BackprojectOptions, ParticlesBackprojectJob
from cryobridge.wrappers.formats.array_file import arrays_bytes
from cryobridge.wrappers.particles.particle_set import ParticleSet
from cryobridge.wrappers.particles.reading import read_particles

from ....heterogeneity.images import stream_images
from ....heterogeneity.streaming import StreamedImages
from ....heterogeneity.tilt_series import weights_of
from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME, OutputFolder
from ....jobs.runner import JobSteps
from ....jobs.tables import curve_table
from ....loop import Progress, scaled
from ....report import chimerax
from ....report.levels import contour_levels
from .found import Backprojected, HalfSource, backprojected, half_sets_of
from .report import BackprojectionOutcome, direction_table, page, view_table, views_seen
from .tilts import with_tilts

RESULT = "backproject.mrc"
_LOOKED, _ADDED = 0.15, 0.85


def run(job: ParticlesBackprojectJob, context: Context) -> JobSteps:
    """Read, look at some images, add all up, compare the half-maps; write maps, tables and the report."""
    device, folder, options = context.device, context.folder, job.options
    particles = _chosen(job)
    half, source = _half_sets(particles, options)
    box = options.box or particles.box
    images = yield from scaled(0.0, _LOOKED, stream_images(particles, options, box=box, device=device))
    remarks = [*particles.remarks, *images.remarks]
    folder.mark("look")
    yield from context.remarked(remarks)
    sums = HalfSums(box, options.ctf_use, device)
    with context.parking.holding(lambda: [one.sums for one in sums.halves]):
        yield from scaled(_LOOKED, _ADDED, _added(sums, images, particles, half.to(device), options))
    folder.mark("add")

    grids = sums.grids()
    # In the units of the images, had they been cropped without a change of their mean.
    scale = images.noise * (box / particles.box) ** 2
    found = backprojected(grids, images.pixel_size_A, options.regularisation, options.seed, scale)
    if images.poses_fit is False:
        # Even averages of blobs agree in the lowest shells; that is no resolution.
        found = replace(found, resolution_A=math.inf, directions=None)
    folder.mark("compare")
    reached = f"{found.resolution_A:.2f} A" if math.isfinite(found.resolution_A) else "none"
    yield Progress(f"resolution {reached} (FSC 0.143)", 0.9)
    outcome = BackprojectionOutcome(particles, images, found, source, views_seen(particles, device))
    _write(folder, outcome, grids, options)
    folder.write_text(REPORT_NAME, page(job, outcome, remarks))
    folder.mark("report")
    return folder.finish(
        metrics=outcome.metrics(),
        options={**options.model_dump(mode="json"), "box": box, "regularisation": found.regularisation},
        statements=outcome.statements(),
        seeds={"phases": options.seed},
    )


def _chosen(job: ParticlesBackprojectJob) -> ParticleSet:
    """The images that are to be used.

    Raises
    ------
    InputInvalid
        If they cannot be read, or are fewer than two.
    """
    inputs, options = job.inputs, job.options
    particles = read_particles(
        inputs.particles,
        passthrough=inputs.passthrough or (),
        poses=inputs.poses,
        ctf=inputs.ctf,
        selection=inputs.selection,
        datadir=inputs.datadir,
        pixel_size_A=options.pixel_size_A,
    )
    particles = with_tilts(particles, options)
    if options.first is not None and options.first < len(particles):
        particles = particles.of(np.arange(options.first, dtype=np.int64))
    if len(particles) < 2:
        raise InputInvalid(f"{particles.name}: {len(particles)} images make no two half-maps; give more")
    return particles


def _half_sets(particles: ParticleSet, options: BackprojectOptions) -> tuple[Tensor, HalfSource]:
    shown = np.arange(len(particles)) if particles.tilts is None else particles.tilts.particle
    half, source = half_sets_of(torch.from_numpy(particles.half), torch.from_numpy(shown), options.half_sets)
    if len(torch.unique(half)) < 2:
        raise InputInvalid(f"{particles.name}: all images are of one particle, which makes no two half-maps; give more")
    return half, source


def _added(
    sums: HalfSums, images: StreamedImages, particles: ParticleSet, half: Tensor, options: BackprojectOptions
) -> Generator[Progress, None, None]:
    """Add all images up, a chunk at a time."""
    done = 0
    for batch in images.iterate(images.chunk):
        members: NDArray[np.int64] = np.arange(done, done + len(batch), dtype=np.int64)
        weights = None
        if options.tilt_weights:
            weights = weights_of(particles, members, images.disc, images.pixel_size_A)
        sums.add(images.disc, batch.spectra, batch.ctf, batch.rotations, half[batch.members], weights)
        done += len(batch)
        yield Progress(f"backprojected {done} of {len(images)} images", done / len(images))


def _write(
    folder: OutputFolder, outcome: BackprojectionOutcome, grids: tuple[Tensor, Tensor], options: BackprojectOptions
) -> None:
    """Write everything but the report."""
    found: Backprojected = outcome.found
    voxel_A, box = found.voxel_size_A, found.box
    folder.write_map(RESULT, found.volume, voxel_A)
    if options.half_maps:
        folder.write_map("half1.mrc", found.half1, voxel_A)
        folder.write_map("half2.mrc", found.half2, voxel_A)
    if found.mask is not None:
        folder.write_map("mask.mrc", found.mask, voxel_A)
    folder.write_text("fsc.csv", curve_table(found.curves, box, voxel_A))
    if found.directions is not None:
        folder.write_text("directional.csv", direction_table(found.directions, None))
    folder.write_text("views.csv", view_table(outcome.views))
    if options.sums:
        names = ("half1", "half2")
        folder.write_data(
            "sums.npz",
            arrays_bytes(
                {
                    f"{name}_{part}": grid[index].cpu().numpy()
                    for name, grid in zip(names, grids, strict=True)
                    for index, part in enumerate(("real", "imaginary", "count"))
                }
            ),
        )
    levels = contour_levels({RESULT: found.volume.cpu()}, None if found.mask is None else found.mask.cpu())
    folder.write_text("backproject.cxc", chimerax.script(list(levels.items())))
