"""The fast method of `vae.train`: a linear subspace, then a network on what images have beyond their consensus."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cryobridge.core.latent import FilmModel, shared_variance
from cryobridge.core.subspace import default_radius
from cryobridge.schemas.errors import InputInvalid, OptionsInvalid
from cryobridge.schemas.kinds.vae.train import LatentTraining, TrainOptions, VaeTrainJob

from ....heterogeneity.image_source import ImageSource
from ....heterogeneity.run_folder import read_run
from ....heterogeneity.trained import TrainedModel
from ....jobs.context import Context
from ....loop import Progress, scaled
from ....training.ladder import within_memory
from .fast_words import REFERENCES, method_of, warnings_of
from .network import NetworkTraining, Schedule, TrainedNetwork, smaller_parts
from .start import Bands, Start, Starting, decoder_size

BETA = 0.25
_STARTED = 0.35
_REACH = {"cpu": 16, "cuda": 32}
"""Of the network by device, in cycles per box; in trials whole-band training of a CPU's length did worse."""
_LINEAR_SHARE, _LEAST_LINEAR = 0.7, 3.0
"""Reach of the linear model as a share of the network's, and at least, in cycles per box."""


@dataclass(frozen=True)
class _FastPlan:
    """How all seeds are trained."""

    training: LatentTraining
    bands: Bands
    schedule: Schedule
    earlier: FilmModel | None
    used: dict[str, Any]


def train_fast(
    job: VaeTrainJob, context: Context, images: ImageSource, object_of: Tensor | None = None
) -> Generator[Progress | None, None, tuple[TrainedModel, Start]]:
    """Train on prepared images; what the first seed made, and what it began with. Progress goes from 0 to 1.

    Parameters
    ----------
    object_of
        (N,) which object each image shows, from 0 on; None where every image shows its own.

    Raises
    ------
    InputInvalid, OptionsInvalid
        If there are too few images, or the options do not fit them.
    BadResult
        If the loss stops being finite again and again.
    """
    options, plan = job.options, _plan(job, context, images)
    checkpoints = context.checkpoints({"fast": plan.used})
    seeds = range(options.seed, options.seed + options.seeds)
    found: list[tuple[Start, TrainedNetwork]] = []
    for index, seed in enumerate(seeds):
        first, last = index / options.seeds, (index + 1) / options.seeds
        middle = first + _STARTED * (last - first)
        starting = Starting(
            images,
            plan.bands,
            seed,
            f"start-{seed}",
            context.device,
            checkpoints,
            context.parking,
            context.ranks,
            plan.earlier,
            tested=options.controls and index == 0,
            object_of=object_of,
        )
        start = yield from scaled(first, middle, starting.result())
        one = plan.training.model_copy(update={"seed": seed})
        work = [
            NetworkTraining(
                start, f"network-{seed}", part, plan.schedule, checkpoints, context.parking, context.ranks, context.say
            )
            for part in (smaller_parts(one) if context.ranks.count == 1 else [one])
        ]
        attempts = within_memory(work, lambda training, _: training.result(), context.device, context.say)
        found.append((start, (yield from scaled(middle, last, attempts))))
    names = [f"{part}-{seed}" for seed in seeds for part in ("start", "network")]
    return _result(found, plan, lambda: checkpoints.remove(*names))


def _plan(job: VaeTrainJob, context: Context, images: ImageSource) -> _FastPlan:
    """What the options mean for these images, checked."""
    options, device = job.options, context.device
    training = options.fast_training(device.type, len(images))
    steps = max(1, len(images) // training.batch)
    training = training.model_copy(update={"held_out_every": steps})
    _check(job, training, images, context)
    radius = band_of(options, images)
    linear_radius = min(default_radius(images.box), max(_LEAST_LINEAR, _LINEAR_SHARE * radius))
    schedule = Schedule(
        options.fast_epochs(device.type, steps),
        options.checkpoint,
        BETA if options.beta is None else float(options.beta),
        options.checkpoint_every_s,
    )
    earlier = _earlier(job, images, device)
    used: dict[str, Any] = {
        **training.model_dump(mode="json"),
        "epochs": schedule.epochs,
        "beta": schedule.beta,
        **decoder_size(device, earlier),
        "radius": radius,
        "linear_radius": linear_radius,
        "box": images.box,
    }
    bands = Bands(options.latent_dimensions, linear_radius, radius)
    return _FastPlan(training, bands, schedule, earlier, used)


def band_of(options: TrainOptions, images: ImageSource) -> float:
    """Reach of the network in cycles per box: to the resolution asked for, or as far as the device does in a while.

    Raises
    ------
    OptionsInvalid
        If the resolution is coarser than anything that is learned.
    """
    widest = float(images.disc.radii[-1])
    if options.resolution_A is None:
        return min(float(images.box // 4), float(_REACH[images.disc.points.device.type]), widest)
    radius = images.box * images.pixel_size_A / options.resolution_A
    if radius < 2:
        raise OptionsInvalid(
            "options",
            f"'resolution_A' of {options.resolution_A:g} is coarser than half of the box; give a smaller number",
        )
    return min(radius, widest)


def _earlier(job: VaeTrainJob, images: ImageSource, device: torch.device) -> FilmModel | None:
    """The model of an earlier training that is gone on with."""
    if job.inputs.load is None:
        return None
    model, zdim = read_run(job.inputs.load, device).model, job.options.latent_dimensions
    if not isinstance(model, FilmModel) or model.zdim != zdim or model.box != images.box:
        raise InputInvalid(
            f"{job.inputs.load} (load): holds a model '{model.name}' of {model.zdim} numbers in a box of {model.box}, "
            f"not one of the fast method of {zdim} in {images.box}; give its options, or leave 'load' out"
        )
    return model


def _check(job: VaeTrainJob, training: LatentTraining, images: ImageSource, context: Context) -> None:
    if len(images) - training.held_out < 2 * (job.options.latent_dimensions + 1):
        raise InputInvalid(
            f"{job.inputs.particles} (particles): {len(images)} particles are too few for a latent of "
            f"{job.options.latent_dimensions} numbers; give more particles, or fewer latent_dimensions"
        )
    if training.batch % context.ranks.count:
        raise OptionsInvalid(
            "options",
            f"'batch' of {training.batch} cannot be shared evenly by {context.ranks.count} processes; give a multiple",
        )


def _result(
    found: list[tuple[Start, TrainedNetwork]],
    plan: _FastPlan,
    clear: Callable[[], None],
) -> tuple[TrainedModel, Start]:
    (start, first), others = found[0], found[1:]
    mean = torch.from_numpy(first.latents)
    agreement = [shared_variance(mean, torch.from_numpy(other.latents)) for _, other in others]
    seeds = {f"network {index + 1}": plan.training.seed + index for index in range(len(found))}
    trained = TrainedModel(
        model=first.model,
        latents=first.latents,
        log_variances=first.log_variances,
        epochs=first.epochs,
        curve=first.curve,
        kl=first.kl,
        warnings=[
            *(start.reality.doubts if start.reality else ()),
            *first.setbacks,
            *warnings_of(first.kl, first.curve, agreement, plan.training.seed),
        ],
        methods=[method_of(start, plan.training, plan.schedule)],
        references=REFERENCES,
        used=plan.used,
        seeds=seeds,
        agreement=agreement,
        clear=clear,
    )
    return trained, start
