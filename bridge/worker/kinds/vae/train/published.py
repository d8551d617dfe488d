"""The published method of `vae.train`: cryoDRGN's network trained from nothing, epoch by epoch."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cryobridge.core.latent import CoordinateModel, published
from cryobridge.core.training import Learned, StepReport, Trainer, TrainingRecord, generator_at, initialised_from
from cryobridge.schemas.errors import BadResult, CryobridgeError, InputInvalid
from cryobridge.schemas.kinds.vae.train import LatentTraining, TrainOptions, VaeTrainJob
from cryobridge.wrappers.particles.particle_set import ParticleSet
from cryobridge.wrappers.particles.tilt_pairs import untilted_of

from ....heterogeneity.image_source import ImageSource
from ....heterogeneity.run_folder import read_run
from ....heterogeneity.trained import EpochLoss, TrainedModel
from ....jobs.checkpoint import Checkpoint, Checkpoints
from ....jobs.context import Context
from ....loop import Progress
from .loaded_steps import loaded_steps
from .published_setup import (
    ObjectLatents,
    beta_of,
    hartley_scale,
    objects_of,
    published_training,
    shape_of,
    weights_for,
)
from .published_words import REFERENCES, method_of, warnings_of

_EPOCHS, _TABLE_RATE = 20, 1e-4
_LATENTS_AT_ONCE = 256
_MOST_SETBACKS = 3
_FREQUENCIES, _LAYERS, _TABLE = 11, 12, 13


def train_published(
    job: VaeTrainJob, context: Context, particles: ParticleSet, images: ImageSource, seed: int | None = None
) -> Generator[Progress | None, None, TrainedModel]:
    """Train the published network on prepared images; progress goes from 0 to 1.

    Parameters
    ----------
    particles
        Whose images these are, in their order.
    images
        Prepared on all Fourier pixels below Nyquist, `whole_disc` of the model's box.
    seed
        Of everything random; the job's own if None.

    Raises
    ------
    InputInvalid
        If the options do not fit the particles.
    BadResult
        If the loss stops being finite again and again.
    """
    seed = job.options.seed if seed is None else seed
    if context.ranks.count > 1 and (job.options.learn_poses or job.options.encoder == "table"):
        raise InputInvalid(
            "poses and tables of latents are learned on one device; give one under 'run', or leave 'learn_poses' and "
            "'encoder: table' out"
        )
    objects = objects_of(particles, job.options)
    together = None if objects is None else (objects.shape[0], objects.shape[1])
    training = published_training(job.options, seed, len(images), together)
    network = _network(job, context, particles, images, 0 if objects is None else len(objects), seed)
    loss = published.PublishedLoss(beta_of(job.options), job.options.beta_control)
    task = published.PublishedTask(
        network,
        images,
        objects,
        loss,
        batch=training.batch,
        scale=hartley_scale(job.options, images.box),
        weights=weights_for(job, particles, images),
        pose_rest=job.options.pose_rest,
        held_out=training.held_out,
        seed=seed,
    )
    training = training.model_copy(update={"held_out_every": task.steps_of_pass})
    used = {"published": training.model_dump(), "box": images.box}
    checkpoints, name = context.checkpoints(used), f"seed_{seed}"
    runs = images if objects is None and not training.held_out else None
    course = PublishedCourse(task, network, training, job.options, context, checkpoints, name, runs)
    yield from course.run()
    return (yield from course.finished(job, particles, images, objects))


def _network(
    job: VaeTrainJob, context: Context, particles: ParticleSet, images: ImageSource, objects: int, seed: int
) -> published.PublishedNetwork:
    """The network to begin with, on the device: new, or that of an earlier training."""
    options, device = job.options, context.device
    poses = None
    if options.learn_poses:
        if particles.rotations is None or np.ptp(particles.pixel_size_A) > 0:
            raise InputInvalid(
                f"{particles.name}: poses can be learned only of images that have some, and all of one pixel size; "
                "leave 'learn_poses' out"
            )
        poses = published.PoseTable(torch.from_numpy(particles.rotations), options.pose_embedding, options.pose_rate)
    shape = shape_of(options, images.box)
    table = None
    if shape.encoder == "table":
        drawn = 0.1 * torch.randn(len(images), shape.zdim, generator=generator_at(seed, _TABLE))
        table = published.LearnedRows(drawn, options.learning_rate or _TABLE_RATE)
    disc = images.disc.to("cpu")
    with initialised_from(int(torch.randint(2**62, (1,), generator=generator_at(seed, _LAYERS)))):
        network = published.PublishedNetwork(shape, disc, generator_at(seed, _FREQUENCIES), poses, table)
    if job.inputs.load is not None:
        _take_over(network, read_run(job.inputs.load, torch.device("cpu")).model, f"{job.inputs.load}")
    return network.to(device)


def _take_over(network: published.PublishedNetwork, model: object, name: str) -> None:
    """Begin with the weights of an earlier training of the same shape."""
    if not isinstance(model, CoordinateModel) or model.shape != network.shape:
        raise InputInvalid(
            f"{name} (load): is of another network than the options ask for; give the options that it was trained "
            "with, or leave 'load' out"
        )
    state = network.state_dict()
    network.load_state_dict({**state, **model.network.state_dict()})


@dataclass
class PublishedCourse:
    """A training while it goes on: steps, latents of epochs, checkpoints.

    runs
        Images whose own batches the task takes; None where it chooses each step's images by itself, and reads no more.
    rate
        That the learning rate is multiplied with: halved whenever numbers ran away.
    """

    task: published.PublishedTask
    network: published.PublishedNetwork
    training: LatentTraining
    options: TrainOptions
    context: Context
    checkpoints: Checkpoints
    name: str
    runs: ImageSource | None
    record: TrainingRecord = field(default_factory=TrainingRecord)
    terms: list[dict[str, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    setbacks: list[str] = field(default_factory=list)
    latents: dict[int, Tensor] = field(default_factory=dict)
    rate: float = 1.0

    @property
    def epochs(self) -> int:
        """Passes over the particles."""
        return self.options.epochs or _EPOCHS

    @property
    def steps(self) -> int:
        """Of all epochs."""
        return self.epochs * self.task.steps_of_pass

    def run(self) -> Generator[Progress | None, None, None]:
        """Train to the end, from the checkpoint on where there is one."""
        learned = Learned(self.task.modules, self.training, self.context.device)
        self._resume(learned)
        good = self._state(learned)
        with self.context.parking.holding(learned.held):
            while len(self.record.losses) < self.steps:
                try:
                    yield from self._epoch(learned)
                except ValueError as error:
                    self._step_back(learned, good, error)
                good = self._state(learned)

    def finished(
        self, job: VaeTrainJob, particles: ParticleSet, images: ImageSource, objects: Tensor | None
    ) -> Generator[Progress | None, None, TrainedModel]:
        """What the training made."""
        with self.context.parking.holding(self._held):
            means, log_variances = yield from self.task.latents(_LATENTS_AT_ONCE)
        per_object = published.divergence_by_number(means, log_variances).mean(dim=0)
        has_variance = self.network.encoder is not None
        pairs = job.inputs.tilt is not None
        # A pair is one particle, and its row is that of its first image.
        spread = ObjectLatents(particles, None if pairs else objects)
        scale = hartley_scale(self.options, images.box)
        other = untilted_of(particles) if pairs else self._moved(particles, images)
        kl = per_object.numpy() if has_variance else None
        return TrainedModel(
            model=CoordinateModel(self.network, images.pixel_size_A, norm=images.noise / scale, scale=scale),
            latents=spread.of(means),
            log_variances=spread.of(log_variances) if has_variance else None,
            epochs={epoch: spread.of(found) for epoch, found in self.latents.items()},
            curve=self._curve(),
            kl=kl,
            warnings=[*self.setbacks, *warnings_of(kl)],
            methods=[method_of(self.network.shape, self.training, beta_of(self.options), self.epochs, self.options)],
            references=REFERENCES,
            used={**self.training.model_dump(), "epochs": self.epochs, "beta": beta_of(self.options)},
            seeds={"published": self.training.seed},
            particles=other,
            clear=lambda: self.checkpoints.remove(self.name),
        )

    def _epoch(self, learned: Learned) -> Generator[Progress | None, None, None]:
        """Train to the end of the epoch, and keep its latents."""
        options = self.training.model_copy(update={"learning_rate": self.training.learning_rate * self.rate})
        trainer = Trainer(
            self.task,
            learned,
            options,
            steps=self.steps,
            seed=options.seed,
            record=self.record,
            ranks=self.context.ranks,
        )
        per = self.task.steps_of_pass
        saved = before = time.monotonic()
        with self.context.parking.holding(trainer.held):
            for report in loaded_steps(trainer, self.record, options, self.runs):
                if report is None:
                    yield None
                    continue
                epoch, now = (report.step - 1) // per, time.monotonic()
                self._count(report, epoch, now - before)
                before, is_last = now, report.step % per == 0
                # Not after the last step: a training that went on from there would lack the latents of the epoch.
                if not is_last and now - saved >= self.options.checkpoint_every_s:
                    self._keep(learned)
                    saved = now
                yield self._progress(report)
                if is_last:
                    break
            epoch = len(self.record.losses) // per
            if epoch % self.options.checkpoint == 0 and self.network.shape.zdim:
                self.latents[epoch], _ = yield from self.task.latents(_LATENTS_AT_ONCE)
        self._keep(learned)

    def _held(self) -> Iterator[Tensor]:
        """What lies on the device when nothing is learned any more; gradients are let go."""
        self.network.zero_grad(set_to_none=True)
        yield from self.network.parameters()
        yield from self.network.buffers()
        yield from self.task.tensors()

    def _count(self, report: StepReport, epoch: int, seconds: float) -> None:
        if len(self.terms) <= epoch:
            self.terms.append(dict.fromkeys(report.terms, 0.0))
            self.seconds.append(0.0)
        for name, value in report.terms.items():
            self.terms[epoch][name] += value
        self.seconds[epoch] += seconds

    def _progress(self, report: StepReport) -> Progress:
        epoch = (report.step - 1) // self.task.steps_of_pass + 1
        text = f"epoch {epoch} of {self.epochs}, step {report.step}/{report.steps}, loss {report.loss:.4f}"
        return Progress(text, report.step / report.steps)

    def _curve(self) -> list[EpochLoss]:
        per = self.task.steps_of_pass
        found = []
        for number, sums in enumerate(self.terms):
            terms = {name: value / per for name, value in sums.items()}
            looked = self.record.held_out[number] if number < len(self.record.held_out) else None
            found.append(EpochLoss(number + 1, sum(terms.values()), terms, looked, self.seconds[number]))
        return found

    def _step_back(self, learned: Learned, good: Checkpoint, error: ValueError) -> None:
        """Go back to the last good epoch, and on from there at half the rate."""
        setbacks, rate = [*self.setbacks, f"{error}"], self.rate / 2
        if len(setbacks) > _MOST_SETBACKS:
            raise BadResult(f"training failed: {'; '.join(setbacks)}; try a lower learning_rate") from error
        self._take(learned, good)
        self.setbacks, self.rate = setbacks, rate
        self.context.say(f"{error}; goes on after step {len(self.record.losses)} with half the rate")

    def _state(self, learned: Learned) -> Checkpoint:
        tensors = learned.tensors() | {f"epoch/{epoch}": value for epoch, value in self.latents.items()}
        note: dict[str, Any] = {
            "losses": list(self.record.losses),
            "held_out": list(self.record.held_out),
            "terms": [dict(one) for one in self.terms],
            "seconds": list(self.seconds),
            "setbacks": list(self.setbacks),
            "rate": self.rate,
        }
        return Checkpoint(tensors, note)

    def _keep(self, learned: Learned) -> None:
        """Write a checkpoint; a full disk costs the chance to go on from it, not the training itself."""
        try:
            self.checkpoints.write(self.name, self._state(learned))
        except CryobridgeError as error:
            self.context.say(f"no checkpoint: {error}")

    def _resume(self, learned: Learned) -> None:
        kept = self.checkpoints.read(self.name)
        if kept is not None:
            self._take(learned, kept)
            self.context.say(f"goes on after step {len(self.record.losses)}")

    def _take(self, learned: Learned, kept: Checkpoint) -> None:
        note = kept.note
        learned.load_tensors(kept.tensors)
        self.record = TrainingRecord(list(note["losses"]), list(note["held_out"]))
        self.terms, self.seconds = [dict(one) for one in note["terms"]], list(note["seconds"])
        self.setbacks, self.rate = list(note["setbacks"]), float(note["rate"])
        self.latents = {
            int(name.partition("/")[2]): value for name, value in kept.tensors.items() if name.startswith("epoch/")
        }

    def _moved(self, particles: ParticleSet, images: ImageSource) -> ParticleSet | None:
        """The particles with the poses that were learned; None where none were."""
        if self.network.poses is None:
            return None
        rotations, shifts_px = self.network.poses.all()
        shifts_A = shifts_px.double().numpy() * images.pixel_size_A
        before = np.zeros_like(shifts_A) if particles.shifts_A is None else particles.shifts_A
        return replace(particles, rotations=rotations.double().numpy(), shifts_A=before + shifts_A)
