"""The network of the fast method while it is trained: epochs, checkpoints, and what is done when numbers run away."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cryobridge.core.latent import NETWORK, FilmModel, FilmNetwork, FilmTask, information_of
from cryobridge.core.training import Learned, Parking, Ranks, StepReport, Trainer, TrainingRecord
from cryobridge.schemas.errors import BadResult, CryobridgeError
from cryobridge.schemas.kinds.vae.train import LatentTraining

from ....heterogeneity.run_folder import Latents
from ....heterogeneity.trained import EpochLoss
from ....jobs.checkpoint import Checkpoint, Checkpoints
from ....loop import Progress
from .loaded_steps import loaded_steps
from .start import Start

_MOST_SETBACKS = 3
_SMALLER = 0.5
_TOLD_IMAGES = 5


@dataclass(frozen=True)
class Schedule:
    """How long a network is trained.

    epochs, keep_every
        Passes over the images, and after how many of them latents are kept.
    beta
        Weight of the information in the latents.
    every_s
        Seconds between two checkpoints.
    """

    epochs: int
    keep_every: int
    beta: float
    every_s: float


@dataclass
class Course:
    """How a training went so far, as plain JSON values but for the latents.

    terms
        Sums over the steps of an epoch that are done, by name, a table for each epoch begun.
    seconds
        Of each epoch begun.
    setbacks
        Where numbers ran away, a sentence each.
    rate
        That the learning rate is multiplied with; smaller after every setback.
    latents
        By epoch, counted from 1.
    """

    record: TrainingRecord = field(default_factory=TrainingRecord)
    terms: list[dict[str, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    setbacks: list[str] = field(default_factory=list)
    rate: float = 1.0
    latents: dict[int, Tensor] = field(default_factory=dict)

    def copy(self) -> Course:
        """One that later steps do not change."""
        record = TrainingRecord(list(self.record.losses), list(self.record.held_out))
        terms = [dict(one) for one in self.terms]
        return Course(record, terms, list(self.seconds), list(self.setbacks), self.rate, dict(self.latents))

    def note(self) -> dict[str, Any]:
        """What is stored of it beside the tensors."""
        return {
            "losses": self.record.losses,
            "held_out": self.record.held_out,
            "terms": self.terms,
            "seconds": self.seconds,
            "setbacks": self.setbacks,
            "rate": self.rate,
        }

    @classmethod
    def of(cls, kept: Checkpoint) -> Course:
        """The one that `note` and the latents of a checkpoint tell of."""
        note = kept.note
        latents = {int(name.partition("/")[2]): one for name, one in kept.tensors.items() if name.startswith("epoch/")}
        record = TrainingRecord(list(note["losses"]), list(note["held_out"]))
        rows = (list(note["terms"]), list(note["seconds"]), list(note["setbacks"]))
        return cls(record, *rows, float(note["rate"]), latents)

    def add(self, report: StepReport, epoch: int, seconds: float) -> None:
        """Count a step of an epoch, counted from 0."""
        if len(self.terms) <= epoch:
            self.terms.append(dict.fromkeys(report.terms, 0.0))
            self.seconds.append(0.0)
        for name, value in report.terms.items():
            self.terms[epoch][name] += value
        self.seconds[epoch] += seconds

    def curve(self, steps: int) -> list[EpochLoss]:
        """Losses by epoch of so many steps each."""
        found = []
        for number, terms in enumerate(self.terms):
            means = {name: value / steps for name, value in terms.items()}
            looked = self.record.held_out[number] if number < len(self.record.held_out) else None
            found.append(EpochLoss(number + 1, sum(means.values()), means, looked, self.seconds[number]))
        return found


@dataclass(frozen=True)
class TrainedNetwork:
    """What a training of the network left.

    model
        On the device.
    latents, log_variances
        (N, zdim) on the host.
    epochs
        Latents by epoch, counted from 1.
    curve, setbacks
        How it went.
    """

    model: FilmModel
    latents: Latents
    log_variances: Latents
    epochs: dict[int, Latents]
    curve: list[EpochLoss]
    setbacks: list[str]

    @property
    def kl(self) -> Latents:
        """(zdim,) mean information of each number of the latents, in nats."""
        found = information_of(torch.from_numpy(self.latents), torch.from_numpy(self.log_variances))
        return found.mean(dim=0).numpy()


@dataclass
class NetworkTraining:
    """Trains the network of one seed.

    Parameters
    ----------
    start
        Images, linear model and scores that it begins with.
    name
        Of its checkpoint.
    options, schedule
        How.
    say
        Takes a line for the log.
    """

    start: Start
    name: str
    options: LatentTraining
    schedule: Schedule
    checkpoints: Checkpoints
    parking: Parking
    ranks: Ranks
    say: Callable[[str], None]
    _saved: float = field(default=0.0, init=False)

    def result(self) -> Generator[Progress | None, None, TrainedNetwork]:
        """Train, from the checkpoint on where there is one; progress goes from 0 to 1.

        Raises
        ------
        BadResult
            If the loss stops being finite again and again.
        """
        network = self.start.network(self.options.seed, self.schedule.beta)
        if self.ranks.count > 1:
            self.ranks.mean_([parameter.data for parameter in network.parameters()])
        learned = Learned({NETWORK: network}, self.options, self.start.device)
        course = self._resumed(learned)
        task = FilmTask(
            learned,
            network.shape,
            self.start.images,
            self.start.scores,
            self.start.linear,
            noise=self.start.noise,
            batch=self.options.batch,
            beta=self.schedule.beta,
            held_out=self.options.held_out,
            seed=self.options.seed,
            object_of=self.start.object_of,
        )
        course = yield from self._trained(learned, task, course)
        return self._finished(network, course)

    @property
    def _steps(self) -> int:
        """Of an epoch."""
        return max(1, len(self.start.images) // self.options.batch)

    def _trained(self, learned: Learned, task: FilmTask, course: Course) -> Generator[Progress | None, None, Course]:
        """Train to the end; where the loss stops being finite, from the last good epoch on with smaller steps."""
        good = (learned.tensors(), course.copy())
        self._saved = time.monotonic()
        while len(course.record.losses) < self._steps * self.schedule.epochs:
            done = len(course.record.losses)
            try:
                good = yield from self._epoch(learned, task, course)
            except ValueError as error:
                step = len(course.record.losses)
                tensors, kept = good
                learned.load_tensors(tensors)
                kept.setbacks.append(f"{error} ({_blamed(task, learned, self.options.seed, step)})")
                kept.rate *= _SMALLER
                if len(kept.setbacks) > _MOST_SETBACKS:
                    raise BadResult(
                        f"training failed: {'; '.join(kept.setbacks)}; look at these images, or try a lower "
                        "learning_rate"
                    ) from error
                self.say(f"{kept.setbacks[-1]}; goes on from step {len(kept.record.losses)} with half the rate")
                course = kept
                good = (tensors, kept.copy())
                continue
            if len(course.record.losses) == done:
                break
        return course

    def _epoch(
        self, learned: Learned, task: FilmTask, course: Course
    ) -> Generator[Progress | None, None, tuple[dict[str, Tensor], Course]]:
        """Train to the end of the epoch; return what to go back to if the next one fails."""
        options = self.options.model_copy(update={"learning_rate": self.options.learning_rate * course.rate})
        total = self._steps * self.schedule.epochs
        trainer = Trainer(
            task, learned, options, steps=total, seed=options.seed, record=course.record, ranks=self.ranks
        )
        before = time.monotonic()
        with self.parking.holding(trainer.held), self.parking.holding(self.start.held):
            for report in loaded_steps(trainer, course.record, options, self.start.images):
                if report is None:
                    yield None
                    continue
                epoch = (report.step - 1) // self._steps
                now = time.monotonic()
                course.add(report, epoch, now - before)
                before = now
                if now - self._saved >= self.schedule.every_s:
                    self._keep(learned, course)
                yield self._progress(report)
                if report.step % self._steps == 0:
                    break
            self._look(learned, course)
        self._keep(learned, course)
        return learned.tensors(), course.copy()

    def _look(self, learned: Learned, course: Course) -> None:
        """Keep the latents of an epoch that is over, and say when they hold nothing."""
        epoch = len(course.record.losses) // self._steps
        network = learned.named[NETWORK].network
        with torch.no_grad():
            mean, log_variance = network.encoder(self.start.scores)  # type: ignore[operator]
            information = information_of(mean, log_variance).mean(dim=0)
        if epoch % self.schedule.keep_every == 0:
            course.latents[epoch] = mean.cpu()
        if float(information.max()) < COLLAPSED_NATS:
            self.say(f"after epoch {epoch} the latents hold next to nothing: {float(information.sum()):.3f} nats")

    def _finished(self, network: FilmNetwork, course: Course) -> TrainedNetwork:
        model = self.start.model(network)
        mean, log_variance = model.of_scores(self.start.scores)
        return TrainedNetwork(
            model,
            mean.cpu().numpy().astype(np.float32),
            log_variance.cpu().numpy().astype(np.float32),
            {epoch: latents.numpy().astype(np.float32) for epoch, latents in sorted(course.latents.items())},
            course.curve(self._steps),
            course.setbacks,
        )

    def _resumed(self, learned: Learned) -> Course:
        kept = self.checkpoints.read(self.name)
        if kept is None:
            return Course()
        learned.load_tensors({name: value for name, value in kept.tensors.items() if not name.startswith("epoch/")})
        course = Course.of(kept)
        self.say(f"goes on after step {len(course.record.losses)}")
        return course

    def _keep(self, learned: Learned, course: Course) -> None:
        """Write a checkpoint; a full disk costs the chance to go on from it, not the training itself."""
        tensors = learned.tensors() | {f"epoch/{epoch}": one for epoch, one in course.latents.items()}
        try:
            self.checkpoints.write(self.name, Checkpoint(tensors, course.note()))
        except CryobridgeError as error:
            self.say(f"no checkpoint: {error}")
        self._saved = time.monotonic()

    def _progress(self, report: StepReport) -> Progress:
        epoch = (report.step - 1) // self._steps + 1
        held_out = "" if report.held_out_loss is None else f", held out {report.held_out_loss:+.2f} nats"
        words = f"epoch {epoch}/{self.schedule.epochs}, step {report.step}/{report.steps}, loss {report.loss:.4f}"
        return Progress(f"{words}{held_out}", report.step / report.steps)


COLLAPSED_NATS = 0.05
"""Less information than this in every number of the latents is none."""


def smaller_parts(options: LatentTraining) -> list[LatentTraining]:
    """The options as they are, then with batches in 2, 4 and 8 parts at a time as far as they divide."""
    parts = [count for count in (1, 2, 4, 8) if options.batch % count == 0]
    return [options.model_copy(update={"acc_batches": count}) for count in parts]


def _blamed(task: FilmTask, learned: Learned, seed: int, step: int) -> str:
    """Which images of a step the loss is not finite for."""
    found = task.not_finite(learned.named[NETWORK].network, seed, step)
    if not len(found):
        return "no single image is to blame"
    shown = ", ".join(str(number + 1) for number in found[:_TOLD_IMAGES].tolist())
    more = f" and {len(found) - _TOLD_IMAGES} more" if len(found) > _TOLD_IMAGES else ""
    return f"at image {shown}{more} of the particles, counted from 1"
