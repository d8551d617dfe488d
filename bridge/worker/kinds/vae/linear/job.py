"""The steps of `vae.linear`: read, consensus, modes, controls, latents of all particles, report."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np
import torch

from cryobridge.core.latent import LinearModel, joined_scores
from cryobridge.core.subspace import default_radius, widest_radius
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.vae.linear import USUAL_BOX, LinearOptions, VaeLinearJob
from cryobridge.wrappers.formats.array_file import arrays_bytes
from cryobridge.wrappers.particles.particle_set import ParticleSet
from cryobridge.wrappers.particles.reading import read_particles
from cryobridge.wrappers.particles.set_arrays import arrays_of

from ....heterogeneity.image_source import ImageSource
from ....heterogeneity.images import PreparedImages, fits_device, prepare_images, stream_images
from ....heterogeneity.reality import associations
from ....heterogeneity.run_folder import Latents, write_run
from ....heterogeneity.streaming import StreamedImages
from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME, OutputFolder
from ....jobs.runner import JobSteps
from ....loop import Progress, scaled
from .fitted import Fitted, fitted
from .repaired import repaired
from .report import LinearOutcome, association_table, page

_READ, _FITTED, _SCORED = 0.3, 0.8, 0.95
_SMALLEST_RADIUS = 3.0
_COARSEST_BOX = 2.0
"""Reach that a box must have at least, in cycles per box: that of 8 voxels."""
_IMAGES_AT_ONCE = 1024


def run(job: VaeLinearJob, context: Context) -> JobSteps:
    """Find modes, keep those above noise, and write them with the latents of all particles."""
    folder, options, device = context.folder, job.options, context.device
    particles = _particles(job)
    box = options.box or min(particles.box - particles.box % 2, USUAL_BOX)
    radius = _radius(options, particles, box)
    images = yield from scaled(0.0, _READ, _images(particles, options, box, device))
    remarks = [*particles.remarks, *images.remarks]
    folder.mark("read")
    yield from context.remarked(remarks)
    with context.parking.holding(images.held):
        found = yield from scaled(_READ, _FITTED, _fit(images, particles, radius, options, context))
        folder.mark("fit")
    wanted = options.repair_poses == "on" or (options.repair_poses == "on_warning" and found.controls.poses_doubted)
    if wanted:
        better = yield from scaled(_READ, _FITTED, repaired(images, particles, options.seed))
        images, particles = better.images, better.particles
        remarks.append(better.words)
        yield from context.remarked([better.words])
        folder.mark("repair")
        with context.parking.holding(images.held):
            found = yield from scaled(_READ, _FITTED, _fit(images, particles, radius, options, context))
    model = LinearModel.of(found.consensus, found.subspace.first(found.modes), images.pixel_size_A)
    with context.parking.holding(lambda: [*images.held(), *model.held()]):
        latents, log_variances = yield from scaled(_FITTED, _SCORED, _scores(images, model, particles))
    folder.mark("scores")
    explained = associations(latents, particles)
    outcome = LinearOutcome(particles, images.pixel_size_A, model, found, latents, explained)
    if wanted:
        folder.write_data("poses.npz", arrays_bytes(arrays_of(particles)))
    _write(folder, outcome, log_variances)
    folder.write_text(REPORT_NAME, page(job, outcome, remarks))
    folder.mark("report")
    return folder.finish(
        metrics=outcome.metrics(),
        options={**options.model_dump(mode="json"), "box": box, "modes": found.modes},
        statements=outcome.statements(),
        seeds={"fit": options.seed},
    )


def _particles(job: VaeLinearJob) -> ParticleSet:
    inputs = job.inputs
    particles = read_particles(
        inputs.particles,
        passthrough=inputs.passthrough or (),
        poses=inputs.poses,
        ctf=inputs.ctf,
        selection=inputs.selection,
        datadir=inputs.datadir,
        pixel_size_A=job.options.pixel_size_A,
    )
    least = 16
    if len(particles) < least:
        raise InputInvalid(f"{particles.name}: {len(particles)} images show no heterogeneity; give at least {least}")
    if particles.rotations is None:
        raise InputInvalid(f"{particles.name}: has no poses; give a refinement's table, or 'poses'")
    return particles


def _images(
    particles: ParticleSet, options: LinearOptions, box: int, device: torch.device
) -> Generator[Progress, None, PreparedImages | StreamedImages]:
    """Kept on the device where they fit, read chunk by chunk where they do not."""
    prepare = prepare_images if fits_device(len(particles), box, None, device) else stream_images
    return (yield from prepare(particles, options, box=box, device=device))


def _fit(
    images: PreparedImages | StreamedImages,
    particles: ParticleSet,
    radius: float,
    options: LinearOptions,
    context: Context,
) -> Generator[Progress | None, None, Fitted]:
    object_of = None if particles.tilts is None else torch.from_numpy(particles.tilts.particle)
    return fitted(images, radius, options.modes, options.iterations, options.seed, context, object_of)


def _radius(options: LinearOptions, particles: ParticleSet, box: int) -> float:
    """Reach of the modes in cycles per box.

    Raises
    ------
    InputInvalid
        If the box does not reach so far, or the modes would be coarser than the box can tell.
    """
    widest = widest_radius(box)
    if widest < _COARSEST_BOX:
        raise InputInvalid(f"{particles.name}: a box of {box} is too small for modes; give images of 8 pixels or more")
    if options.resolution_A is None:
        return default_radius(box)
    side_A = particles.box * float(np.median(particles.pixel_size_A))
    radius = side_A / options.resolution_A
    least = min(_SMALLEST_RADIUS, widest)
    if not least <= radius <= widest:
        finest, coarsest = side_A / widest, side_A / least
        raise InputInvalid(
            f"{particles.name}: 'resolution_A' {options.resolution_A:g} is out of reach of a box of {box}; give "
            f"{math.ceil(10 * finest) / 10:g} to {math.floor(coarsest):g}, or another 'box'"
        )
    return radius


def _scores(
    images: ImageSource, model: LinearModel, particles: ParticleSet
) -> Generator[Progress, None, tuple[Latents, Latents]]:
    """Latents (N, K) of all images and logarithms of their variances; those of an object are of all its images."""
    means, variances, done = [], [], 0
    for part in images.iterate(_IMAGES_AT_ONCE):
        mean, log_variance = model.encode(part.spectra, part.ctf, part.rotations)
        means.append(mean.cpu())
        variances.append(log_variance.cpu())
        done += len(part)
        yield Progress(f"latents of {done} of {len(images)} particles", done / len(images))
    found = torch.cat(means), torch.cat(variances)
    if particles.tilts is not None:
        found = joined_scores(*found, model.prior_variance.cpu(), torch.from_numpy(particles.tilts.particle))
    return found[0].numpy(), found[1].numpy()


def _write(folder: OutputFolder, outcome: LinearOutcome, log_variances: Latents) -> None:
    model, controls = outcome.model, outcome.fitted.controls
    write_run(folder, model, outcome.latents, log_variances, outcome.particles)
    folder.write_map("consensus.mrc", model.consensus.cpu(), outcome.voxel_size_A)
    deviations = model.prior_variance.sqrt()
    for number, (component, deviation) in enumerate(zip(model.components(), deviations, strict=True), 1):
        folder.write_map(f"mode_{number:02d}.mrc", (component * deviation).cpu(), outcome.voxel_size_A)
    folder.write_text("modes.csv", controls.table())
    folder.write_text("associations.csv", association_table(outcome.explained))
    of_fit = outcome.fitted.members.cpu().numpy()
    folder.write_data(
        "agreement.npz", arrays_bytes({"member": of_fit, "correlation": controls.agreement.cpu().numpy()})
    )
    if len(controls.junk):
        folder.write_data("junk.npz", arrays_bytes({"indices": outcome.junk_rows()}))
