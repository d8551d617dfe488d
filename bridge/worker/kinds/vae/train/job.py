"""The steps of `vae.train`: read, prepare, train by either method, write."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Sequence

import numpy as np
import torch
from torch import Tensor

from cryobridge.core.latent import whole_disc
from cryobridge.schemas.errors import CryobridgeError, InputInvalid
from cryobridge.schemas.kinds.vae.analyze import AnalyzeOptions
from cryobridge.schemas.kinds.vae.train import VaeTrainJob
from cryobridge.wrappers.formats.array_file import arrays_bytes
from cryobridge.wrappers.particles.particle_set import ParticleSet
from cryobridge.wrappers.particles.reading import read_particles
from cryobridge.wrappers.particles.tilt_pairs import tilt_pairs

from ....heterogeneity.image_source import ImageSource
from ....heterogeneity.images import image_source
from ....heterogeneity.peer_layout import write_peer_layout
from ....heterogeneity.run_folder import read_run, write_run
from ....heterogeneity.tilt_series import with_dose_and_angle
from ....heterogeneity.trained import EpochLoss, TrainedModel
from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME
from ....jobs.runner import JobSteps
from ....loop import Progress, scaled
from ....memory import peak_bytes
from ....report.page import as_html
from ..analyze import analysed
from .along import Along, along_first_component, volumes_at
from .fast import train_fast
from .linear_check import checked
from .report import TrainingFindings, page_of
from .seeds import train_seeds
from .start import Start

_PREPARED, _TRAINED, _CHECKED, _WRITTEN = 0.15, 0.9, 0.95, 0.96
ANALYSIS_REPORT = "analysis.html"


def run(job: VaeTrainJob, context: Context) -> JobSteps:
    """Train, and write the model, the latents, a few volumes and the report."""
    particles = _particles(job)
    yield Progress(f"{len(particles)} images of {particles.box} pixels", 0.0)
    box = job.options.box_of(particles.box)
    radius = float(whole_disc(box).radii[-1]) if job.options.is_published else None
    images = yield from scaled(
        0.0,
        _PREPARED,
        image_source(particles, job.options, box=box, radius=radius, device=context.device),
    )
    yield from context.remarked([*particles.remarks, *images.remarks, *_alone(job, particles)])
    context.folder.mark("read")
    trained, start = yield from scaled(_PREPARED, _TRAINED, _begun(_made(job, context, particles, images), context))
    if not context.leads:
        return {}
    if start is None:
        check = checked(trained, job.options, context, particles, images)
        trained, start = yield from scaled(_TRAINED, _CHECKED, check)
    context.folder.mark("train")
    used = particles if trained.particles is None else trained.particles
    yield Progress("writing the model and volumes", _CHECKED)
    with context.parking.holding(trained.model.held):
        along = yield from along_first_component(trained.model, trained.latents)
        consensus = yield from _consensus(job, trained, start)
    _write(context, trained, used, along, consensus)
    _write_junk(context, start, used)
    if job.options.legacy:
        context.folder.remark(write_peer_layout(context.folder, trained, used, job.options, job.inputs.datadir))
    findings = TrainingFindings(job, used, images, trained, along, start, context.folder.seconds)
    page, remarks = page_of(findings)
    context.folder.remark(remarks)
    context.folder.write_text(REPORT_NAME, as_html(page))
    context.folder.mark("finish")
    yield from scaled(_WRITTEN, 1.0, _analysis(job, context))
    result = context.folder.finish(
        metrics=_metrics(findings, *peak_bytes(context.device)),
        options={**job.options.model_dump(mode="json"), **trained.used, "box": images.box},
        statements=list(trained.warnings),
        seeds=trained.seeds,
    )
    trained.clear()
    return result


def _particles(job: VaeTrainJob) -> ParticleSet:
    given = job.inputs
    particles = read_particles(
        given.particles,
        passthrough=given.passthrough or (),
        poses=given.poses,
        ctf=given.ctf,
        selection=given.selection,
        datadir=given.datadir,
        pixel_size_A=job.options.pixel_size_A,
    )
    if particles.rotations is None:
        raise InputInvalid(f"{given.particles} (particles): has no poses; refine the particles first, or give 'poses'")
    if given.tilt is None:
        return with_dose_and_angle(particles, job.options) if job.options.is_published else particles
    tilted = read_particles(given.tilt, selection=given.selection, datadir=given.datadir)
    return tilt_pairs(particles, tilted, job.options.tilt_deg)


def _alone(job: VaeTrainJob, particles: ParticleSet) -> list[str]:
    """What a reader must know of images of one object that get latents of their own."""
    options = job.options
    alone = options.is_published and options.encoder not in ("tilt", "series") and options.latent_dimensions
    if particles.tilts is None or not alone:
        return []
    return [
        "The images are of tilt series, and each got a latent of its own; 'encoder: series' gives every object one, "
        "and so does the fast method."
    ]


def _made(
    job: VaeTrainJob, context: Context, particles: ParticleSet, images: ImageSource
) -> Generator[Progress | None, None, tuple[TrainedModel, Start | None]]:
    if job.options.is_published:
        return (yield from train_seeds(job, context, particles, images)), None
    tilts = particles.tilts
    return (yield from train_fast(job, context, images, None if tilts is None else torch.from_numpy(tilts.particle)))


def _begun(
    steps: Generator[Progress | None, None, tuple[TrainedModel, Start | None]], context: Context
) -> Generator[Progress | None, None, tuple[TrainedModel, Start | None]]:
    """The same steps; the folder is made after the first, so that what is refused at once leaves nothing behind."""
    first = next(steps)
    if context.leads:
        context.folder.open()
    yield first
    return (yield from steps)


def _consensus(job: VaeTrainJob, trained: TrainedModel, start: Start | None) -> Generator[None, None, Tensor]:
    if start is not None and not job.options.is_published:
        return start.consensus
    (volume,) = yield from volumes_at(trained.model, trained.latents.mean(axis=0, keepdims=True))
    return volume


def _write(context: Context, trained: TrainedModel, particles: ParticleSet, along: Along, consensus: Tensor) -> None:
    folder = context.folder
    write_run(folder, trained.model, trained.latents, trained.log_variances, particles)
    for epoch, latents in trained.epochs.items():
        folder.write_data(f"latents_epoch_{epoch}.npz", arrays_bytes({"z": latents}))
    folder.write_map("consensus.mrc", consensus, trained.model.voxel_size_A)
    for number, volume in enumerate(along.volumes, 1):
        folder.write_map(f"volume_{number}.mrc", volume, trained.model.voxel_size_A)
    folder.write_text("training.csv", _table(trained.curve))


def _analysis(job: VaeTrainJob, context: Context) -> Generator[Progress | None, None, None]:
    """Look at what was written, or say how to; nothing of it may cost the training."""
    if not job.options.latent_dimensions:
        return
    folder = context.folder
    if not job.options.analysis:
        folder.log(f"next: cryobridge vae analyze {folder.path} -o {folder.path}_analysis")
        return
    try:
        run_ = read_run(folder.path, context.device)
        yield from analysed(run_, AnalyzeOptions(seed=job.options.seed), context, ANALYSIS_REPORT)
    except CryobridgeError as error:
        folder.remark([f"The training is whole, but could not be analysed: {error}"])


def _write_junk(context: Context, start: Start | None, particles: ParticleSet) -> None:
    """Rows of the table whose images may show no particle, as a selection has them."""
    found = [] if start is None or start.reality is None else start.reality.junk
    # The second images of tilt pairs, which come last, have no rows of their own.
    junk = [image for image in found if image < len(particles)]
    if junk:
        context.folder.write_data("junk.npz", arrays_bytes({"indices": particles.rows[np.array(junk, np.int64)]}))


def _table(curve: Sequence[EpochLoss]) -> str:
    text = io.StringIO()
    names = list(curve[0].terms) if curve else []
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["epoch", "loss", *names, "held_out", "seconds"])
    for one in curve:
        looked = "" if one.held_out is None else f"{one.held_out:.6g}"
        values = [f"{one.terms[name]:.6g}" for name in names]
        writer.writerow([one.epoch, f"{one.loss:.6g}", *values, looked, f"{one.seconds:.2f}"])
    return text.getvalue()


def _metrics(found: TrainingFindings, host: int, device: int | None) -> dict[str, float | int | str | None]:
    trained = found.trained
    last = trained.curve[-1] if trained.curve else None
    return {
        **found.objects.metrics,
        "box": trained.model.box,
        "voxel_size_A": round(trained.model.voxel_size_A, 5),
        "method": found.method,
        "latent_dimensions": trained.model.zdim,
        "epochs": len(trained.curve),
        "loss_first": round(trained.curve[0].loss, 5) if trained.curve else None,
        "loss_last": None if last is None else round(last.loss, 5),
        "held_out": None if last is None or last.held_out is None else round(last.held_out, 4),
        "information_nats": None if trained.kl is None else round(float(np.sum(trained.kl)), 4),
        "seeds_agree": round(min(trained.agreement), 4) if trained.agreement else None,
        "linear_agrees": None if found.linear_likeness is None else round(found.linear_likeness, 4),
        "latents_told": None if found.latents_told is None else round(found.latents_told, 4),
        **({} if found.reality is None else found.reality.metrics),
        "peak_memory_GB": round(host / 1e9, 2),
        "peak_gpu_memory_GB": None if device is None else round(device / 1e9, 2),
    }
