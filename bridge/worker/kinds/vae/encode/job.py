"""The steps of `vae.encode`."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.latent import (
    CoordinateModel,
    FilmModel,
    ImageEncoder,
    LinearModel,
    VolumeModel,
    joined_scores,
    whole_disc,
)
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.vae.encode import EncodeOptions, VaeEncodeJob
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.particles.particle_set import ParticleSet
from cryobridge.wrappers.particles.reading import read_particles

from ....beside import beside
from ....heterogeneity.image_source import ImageSource
from ....heterogeneity.images import stream_images
from ....heterogeneity.run_folder import LatentRun, read_run, write_run
from ....jobs.context import Context
from ....jobs.folder import REPORT_NAME
from ....jobs.runner import JobSteps
from ....loop import Progress, scaled
from ....report.page import as_html
from .comparison import LatentComparison, comparison_of
from .explained import ExplainedImages, explained
from .page import STATEMENTS, page_of
from .tables import image_table

CONSENSUS = "consensus.mrc"
_SAME_EXTENT = 5e-3
"""Of the extent of the model's volumes: with more, frequencies are off by a pixel before Nyquist."""
_SAME_SCALE = 2.0
"""Images whose noise is within this factor of what a network of cryoDRGN knows are stored as those it learned from."""
_READ, _ENCODED = 0.1, 0.95


def run(job: VaeEncodeJob, context: Context) -> JobSteps:
    """Write latents of the images, how well the model explains each, and how they compare with the run's own."""
    folder = context.folder
    trained = read_run(job.inputs.run, context.device, job.options.epoch)
    encoder = encoder_of(trained)
    particles = _particles(job)
    expect_same_extent(particles, trained)
    images = yield from scaled(
        0.0,
        _READ,
        stream_images(
            particles,
            _as_learned(job.options, trained),
            box=trained.model.box,
            radius=float(whole_disc(trained.model.box).radii[-1]),
            device=context.device,
        ),
    )
    alone = _alone(particles, trained.model)
    yield from context.remarked([*trained.remarks, *particles.remarks, *images.remarks, *alone])
    folder.mark("read")
    _take_as_learned(trained, images.noise)
    with context.parking.holding(trained.model.held):
        shown = None if particles.tilts is None else torch.from_numpy(particles.tilts.particle)
        steps = encoded(trained.model, encoder, images, job.options.batch, shown)
        found = yield from scaled(_READ, _ENCODED, steps)
    folder.mark("encode")
    compared = yield from beside(partial(comparison_of, found, trained.latents[trained.objects.firsts]))
    yield from context.remarked(compared.doubts())
    _write(context, trained, particles, found, compared)
    folder.write_text(REPORT_NAME, as_html(page_of(job, trained, particles, found, compared)))
    return folder.finish(metrics=_metrics(found, compared), statements=STATEMENTS)


def encoder_of(trained: LatentRun) -> ImageEncoder:
    """The run's model as one that encodes images.

    Raises
    ------
    InputInvalid
        If it has no encoder of single images, or no latents.
    """
    model = trained.model
    # A network of positions may have been trained without an encoder, or with one of several images of an object.
    if not isinstance(model, ImageEncoder) or not getattr(model, "encodes", True):
        raise InputInvalid(
            f"{trained.path}: its model has no encoder of single images; give a run of vae.linear, or of vae.train "
            "with an encoder"
        )
    if model.zdim == 0:
        raise InputInvalid(f"{trained.path}: its model has no latents to find; give a run that has")
    return model


def _as_learned(options: EncodeOptions, trained: LatentRun) -> EncodeOptions:
    """The options, with the contrast that cryoDRGN learned with where none is asked for."""
    if trained.peer_contrast is None or options.contrast != "auto":
        return options
    return options.model_copy(update={"contrast": trained.peer_contrast})


def _take_as_learned(trained: LatentRun, noise: float) -> None:
    """Have a network of cryoDRGN see images as it did: divided by a number of its own, not by the noise in them.

    It is left alone where the images are stored on another scale than those that it learned from.
    """
    model = trained.model
    if trained.peer_contrast is None or not isinstance(model, CoordinateModel):
        return
    scale = noise / model.norm
    if 1 / _SAME_SCALE < scale / model.scale < _SAME_SCALE:
        model.scale = scale


def expect_same_extent(particles: ParticleSet, trained: LatentRun) -> None:
    """Refuse images of another extent than the model's volumes; any pixel size is fine as long as they cover the same.

    Raises
    ------
    InputInvalid
        If their extents differ by more than rounding.
    """
    model = trained.model
    wanted_A = model.box * model.voxel_size_A
    pixel_A = float(np.median(particles.pixel_size_A))
    found_A = particles.box * pixel_A
    if abs(found_A - wanted_A) > _SAME_EXTENT * wanted_A:
        needed = 2 * round(wanted_A / pixel_A / 2)
        raise InputInvalid(
            f"{particles.name}: images of {particles.box} pixels of {pixel_A:.4g} A cover {found_A:.1f} A, volumes of "
            f"{trained.path} {wanted_A:.1f} A; extract them with a box of {needed} pixels"
        )


def encoded(
    model: VolumeModel, encoder: ImageEncoder, images: ImageSource, batch: int, object_of: Tensor | None = None
) -> Generator[Progress | None, None, ExplainedImages]:
    """Latents of all images, and how well the model explains each.

    Parameters
    ----------
    object_of
        (N,) which object each image shows; models that were fitted on the images of an object together give it one
        latent. None where every image shows its own.
    """
    linear = model.linear if isinstance(model, FilmModel) else model
    joined: tuple[Tensor, Tensor] | None = None
    if object_of is not None and isinstance(linear, LinearModel):
        joined = yield from scaled(0.0, 0.4, _of_objects(model, linear, images, batch, object_of))
    parts, done, begun = [], 0, 0.0 if joined is None else 0.4
    for some in images.iterate(batch):
        if joined is None:
            mean, log_variance = encoder.encode(some.spectra, some.ctf, some.rotations)
        else:
            mean, log_variance = (values[some.members] for values in joined)
        parts.append(explained(model, images.disc, some, mean, log_variance))
        done += len(some)
        yield Progress(f"encoded {done} of {len(images)} images", begun + (1 - begun) * done / len(images))
    return ExplainedImages.joined(parts)


def _of_objects(
    model: VolumeModel, linear: LinearModel, images: ImageSource, batch: int, object_of: Tensor
) -> Generator[Progress | None, None, tuple[Tensor, Tensor]]:
    """Mean and logarithm of the variance, (N, zdim) each, of what all images of an object say together."""
    scores = torch.empty(len(images), linear.zdim, device=linear.consensus.device)
    spread = torch.empty_like(scores)
    for some in images.iterate(batch):
        scores[some.members], spread[some.members] = linear.encode(some.spectra, some.ctf, some.rotations)
        yield Progress("scores of all images", float(some.members[-1] + 1) / len(images))
    mean, log_variance = joined_scores(scores, spread, linear.prior_variance, object_of.to(scores.device))
    return model.of_scores(mean) if isinstance(model, FilmModel) else (mean, log_variance)


def _alone(particles: ParticleSet, model: VolumeModel) -> list[str]:
    """What a reader must know of images of one object that get latents of their own."""
    if particles.tilts is None or isinstance(model, FilmModel | LinearModel):
        return []
    return ["The images are of tilt series, and each got a latent of its own: this model knows single images only."]


def _particles(job: VaeEncodeJob) -> ParticleSet:
    given = job.inputs
    return read_particles(
        given.particles,
        passthrough=given.passthrough or (),
        poses=given.poses,
        ctf=given.ctf,
        selection=given.selection,
        datadir=given.datadir,
        pixel_size_A=job.options.pixel_size_A,
    )


def _write(
    context: Context, trained: LatentRun, particles: ParticleSet, found: ExplainedImages, compared: LatentComparison
) -> None:
    folder = context.folder
    write_run(folder, trained.model, found.latents, found.log_variances, particles)
    folder.write_text("images.csv", image_table(particles, found, compared))
    consensus = trained.path / CONSENSUS
    if consensus.is_file():
        volume, header = mrc.read(consensus)
        folder.write_map(CONSENSUS, torch.from_numpy(volume), header.voxel_size_A[2], header.position)


def _metrics(found: ExplainedImages, compared: LatentComparison) -> dict[str, float | int]:
    values: dict[str, float | int] = {
        "images": len(found.latents),
        "misfit": _rounded(found.misfit),
        "correlation": _rounded(found.correlation),
        "scale": round(found.scale, 4),
    }
    if compared.near is not None:
        values["off_the_data"] = int(compared.near.off_data.sum())
    return values


def _rounded(values: NDArray[np.float32]) -> float:
    return round(float(np.median(values)), 5)
