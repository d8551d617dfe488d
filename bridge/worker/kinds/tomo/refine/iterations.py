"""The iterations of the published method, with checkpoints of all that the next step depends on."""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cryobridge.core.tomogram import Glimpse, normalised, published
from cryobridge.core.training import Learned, StepReport, Trainer, TrainingRecord, generator_at, runner
from cryobridge.schemas.errors import BadResult, CryobridgeError
from cryobridge.schemas.kinds.tomo.refine import TomoRefineOptions
from cryobridge.schemas.training import TrainingOptions

from ....jobs.checkpoint import Checkpoint, Checkpoints
from ....jobs.context import Context
from ....loop import Progress
from ....tomograms.live_preview import LivePreview
from ....training.ladder import within_memory
from .subtomograms import LoadedSubtomograms

CHECKPOINT = "checkpoint"
_FILLED = 0.1
"""Part of an iteration that filling takes, for the progress."""
_KEPT_OUT, _MOST_KEPT_OUT = 10, 64
"""One in ten pairs is kept out of training, up to as many as are looked at quickly."""
_AT_ONCE = 4
_BEFORE, _LEARNED = "before/", "learned/"
_DRAWN = 5
RATE = 4e-4
"""Of IsoNet."""
_SEEDS_APART = 10_000
"""No two trainings have an iteration of the same seed: there are fewer iterations."""


@dataclass(frozen=True)
class RefinePlan:
    """What is to be done.

    Attributes
    ----------
    options
        With every default filled in.
    network
        To begin with, on the device.
    has_learned
        Whether it was trained before, so that its answers fill the wedge.
    done, history
        Iterations before this job, and what became of them.
    """

    options: TomoRefineOptions
    network: published.IsoNetUNet
    has_learned: bool
    done: int
    history: Sequence[Mapping[str, Any]]


@dataclass
class _Course:
    """How far an iteration is."""

    number: int
    record: TrainingRecord = field(default_factory=TrainingRecord)
    seconds: float = 0.0


class Iterations:
    """Fills and trains, from the checkpoint on where there is one.

    Parameters
    ----------
    plan
        What is to be done.
    loaded
        What is learned from.
    context
        Device, ranks, parking, log.
    checkpoints
        Where the work is kept.

    Attributes
    ----------
    history
        What became of each iteration, as plain JSON values.
    """

    def __init__(
        self, plan: RefinePlan, loaded: LoadedSubtomograms, context: Context, checkpoints: Checkpoints
    ) -> None:
        self._plan, self._loaded, self._context, self._checkpoints = plan, loaded, context, checkpoints
        self._network = plan.network
        self._has_learned = plan.has_learned
        self._parts = 1
        self._saved = time.monotonic()
        self._material: published.WedgedSubtomograms | None = None
        self._drawn: tuple[int, ...] = ()
        self._pairs = 0
        self._preview = LivePreview(context, plan.options.preview_every_s, loaded.pixel_size_A)
        self.history: list[Mapping[str, Any]] = list(plan.history)

    def run(self) -> Generator[Progress | None, None, published.IsoNetUNet]:
        """Do every iteration that is left; progress goes from 0 to 1.

        Raises
        ------
        BadResult
            If the loss stops being finite.
        """
        options = self._plan.options
        course, stored = self._resumed()
        self._saved = time.monotonic()
        while course.number <= options.iterations:
            yield from self._iteration(course, stored)
            course, stored = _Course(course.number + 1), {}
        return self._network

    def shown(self) -> tuple[Tensor, Tensor]:
        """One subtomogram as it was measured and as it was filled last, (c, c, c) each on the host, protein bright."""
        if self._material is None:
            volume = normalised(self._loaded.volumes[:1], by_percentile=self._plan.options.normalize_percentile)[0]
            return volume, volume
        return self._material.measured[0].cpu(), self._material.filled[0].cpu()

    def clear(self) -> None:
        """Remove the checkpoint: the job is finished."""
        self._checkpoints.remove(CHECKPOINT)

    def _iteration(self, course: _Course, stored: Mapping[str, Tensor]) -> Generator[Progress | None, None, None]:
        options, number = self._plan.options, course.number
        begun = time.monotonic() - course.seconds
        material = self._drawn_for(number)
        before = {name: value.detach().cpu().clone() for name, value in self._network.state_dict().items()}
        with self._context.parking.holding(self._held), self._context.parking.holding(material.held):
            if self._has_learned:
                yield from self._filled(material, number)
            else:
                material.fill_from_the_data()
            training = self._training()
            learned = Learned({published.NETWORK: self._network}, training, self._context.device)
            if stored:
                learned.load_tensors(stored)
            task = self._task(learned, material, number)
            level = published.level_at(number, options.noise_levels, options.noise_starts)
            yield from self._trained(learned, task, course, _Kept(before, begun))
        self._has_learned = True
        self._note(course, level, len(material), time.monotonic() - begun)
        if number == options.iterations:
            self._keep(learned, course, _Kept(before, begun))

    def _drawn_for(self, number: int) -> published.WedgedSubtomograms:
        """The subtomograms of an iteration on the device: all, or some that follow from seed and iteration."""
        options, count = self._plan.options, len(self._loaded.volumes)
        drawn = tuple(range(count))
        if options.select_subtomo_number is not None and options.select_subtomo_number < count:
            order = torch.randperm(count, generator=generator_at(options.seed, _DRAWN, number))
            drawn = tuple(sorted(order[: options.select_subtomo_number].tolist()))
        if self._material is None or drawn != self._drawn:
            # The one before is let go first.
            self._material, self._drawn = None, drawn
            self._material = published.WedgedSubtomograms(
                self._loaded.volumes[list(drawn)].to(self._context.device),
                [self._loaded.wedges[one] for one in drawn],
                self._loaded.cube,
                by_percentile=options.normalize_percentile,
            )
            self._pairs = len(self._material.places())
        return self._material

    def _filled(self, material: published.WedgedSubtomograms, number: int) -> Generator[Progress | None, None, None]:
        """Fill every subtomogram by the network; several processes take turns."""
        yield from within_memory(
            [1] if self._context.device.type == "cpu" else [_AT_ONCE, 1],
            lambda most, _: self._filled_by(material, number, most),
            self._context.device,
            self._context.say,
        )

    def _filled_by(
        self, material: published.WedgedSubtomograms, number: int, most: int
    ) -> Generator[Progress | None, None, None]:
        ranks, parts = self._context.ranks, material.parts(most)
        done = 0
        for first in range(0, len(parts), ranks.count):
            group = parts[first : first + ranks.count]
            answers = [
                self._answer(material, members) if index == ranks.index else torch.zeros_like(material.filled[members])
                for index, members in enumerate(group)
            ]
            if ranks.count > 1:
                ranks.mean_(answers)
                answers = [one * ranks.count for one in answers]
            for members, answer in zip(group, answers, strict=True):
                material.fill(members, answer)
                done += len(members)
            share = _FILLED * done / len(material)
            yield Progress(f"iteration {number}: filled {done} of {len(material)}", self._fraction(number, share))

    def _answer(self, material: published.WedgedSubtomograms, members: Tensor) -> Tensor:
        self._network.eval()
        run = runner(self._network, self._training(), self._context.device)
        try:
            found = published.answered(run, material.measured[members], self._network.shape.divisor)
        finally:
            self._network.train()
        return normalised(found, by_percentile=self._plan.options.normalize_percentile)

    def _trained(
        self, learned: Learned, task: published.IsoNetTask, course: _Course, kept: _Kept
    ) -> Generator[Progress | None, None, None]:
        """Take the steps of an iteration, in parts of a batch where memory runs out."""
        ranks = self._context.ranks
        share = (self._plan.options.batch_size or 1) // ranks.count
        parts = [count for count in range(self._parts, share + 1) if share % count == 0]
        # One of several ranks cannot change its batches alone.
        attempts = [self._training(count) for count in (parts if ranks.count == 1 else parts[:1])]
        yield from within_memory(
            attempts,
            lambda options, _: self._steps(learned, task, course, options, kept),
            self._context.device,
            self._context.say,
        )

    def _steps(
        self,
        learned: Learned,
        task: published.IsoNetTask,
        course: _Course,
        options: TrainingOptions,
        kept: _Kept,
    ) -> Generator[Progress | None, None, None]:
        plan, number = self._plan.options, course.number
        steps = plan.epochs * (plan.steps_per_epoch or 1)
        try:
            trainer = Trainer(
                task,
                learned,
                options,
                steps=steps,
                seed=plan.seed * _SEEDS_APART + number,
                record=course.record,
                ranks=self._context.ranks,
            )
            with self._context.parking.holding(trainer.held):
                for report in trainer.run():
                    self._parts = options.acc_batches
                    if time.monotonic() - self._saved >= plan.checkpoint_every_s:
                        self._keep(learned, course, kept)
                    if report.step % (plan.steps_per_epoch or 1) == 0:
                        self._preview.offer(self._title(number, report), partial(self._glimpse, number))
                    yield Progress(
                        self._words(number, report),
                        self._fraction(number, _FILLED + (1 - _FILLED) * report.step / steps),
                    )
        except ValueError as error:
            raise BadResult(
                f"training failed in iteration {number}: {error}; try a lower learning_rate or another seed"
            ) from error

    def _task(self, learned: Learned, material: published.WedgedSubtomograms, number: int) -> published.IsoNetTask:
        options = self._plan.options
        level = published.level_at(number, options.noise_levels, options.noise_starts)
        noise = None
        if level > 0:
            shape = (material.cube,) * 3
            weight = published.noise_weight(
                options.noise_mode or "noFilter", self._loaded.wedges[0], shape, self._context.device
            )
            noise = published.NoiseOfIteration(level, weight)
        kept_out = self._training().held_out
        batch = options.batch_size or 1
        return published.IsoNetTask(learned, material, noise, batch=batch, kept_out=kept_out, seed=options.seed)

    def _training(self, parts: int = 1) -> TrainingOptions:
        """IsoNet's training: Adam as it is, a constant rate, no averages."""
        options = self._plan.options
        return TrainingOptions(
            batch=options.batch_size or 1,
            acc_batches=parts,
            learning_rate=options.learning_rate or RATE,
            schedule="constant",
            weight_decay=0.0,
            gradient_clip=None,
            ema=0.0,
            held_out=max(1, min(self._pairs // _KEPT_OUT, _MOST_KEPT_OUT)),
            held_out_every=options.steps_per_epoch or 1,
            patience=options.patience,
            seed=options.seed,
            precision=options.precision,
        )

    def _note(self, course: _Course, level: float, count: int, seconds: float) -> None:
        """Add an iteration to the history, its losses by epoch."""
        steps, record = self._plan.options.steps_per_epoch or 1, course.record
        epochs = [record.losses[start : start + steps] for start in range(0, len(record.losses), steps)]
        self.history.append(
            {
                "iteration": course.number,
                "noise_level": level,
                "subtomograms": count,
                "losses": [sum(one) / len(one) for one in epochs],
                "held_out": list(record.held_out),
                "seconds": round(seconds, 2),
            }
        )
        kept_out = f", {record.held_out[-1]:.4f} of pairs kept out" if record.held_out else ""
        noise = f", noise {level:g}" if level else ""
        self._context.say(f"iteration {course.number}: loss {record.losses[-1]:.4f}{kept_out}{noise}")

    def _resumed(self) -> tuple[_Course, Mapping[str, Tensor]]:
        """Where to go on: the iteration, and what its network has learned in it."""
        kept = self._checkpoints.read(CHECKPOINT)
        if kept is None:
            return _Course(self._plan.done + 1), {}
        before = dict(_under(_BEFORE, kept.tensors))
        self._network.load_state_dict(before)
        note = kept.note
        self._has_learned = bool(note["has_learned"])
        self.history = list(note["history"])
        record = TrainingRecord(list(note["losses"]), list(note["held_out"]))
        self._context.say(f"goes on in iteration {note['iteration']}, after step {len(record.losses)}")
        course = _Course(int(note["iteration"]), record, float(note["seconds"]))
        return course, dict(_under(_LEARNED, kept.tensors))

    def _keep(self, learned: Learned, course: _Course, kept: _Kept) -> None:
        """Write a checkpoint; a full disk costs the chance to go on from it, not the training itself."""
        tensors = {f"{_BEFORE}{name}": value for name, value in kept.before.items()}
        tensors |= {f"{_LEARNED}{name}": value for name, value in learned.tensors().items()}
        earlier = [one for one in self.history if one["iteration"] < course.number]
        note = {
            "iteration": course.number,
            "has_learned": bool(earlier) or self._plan.has_learned,
            "losses": course.record.losses,
            "held_out": course.record.held_out,
            "history": earlier,
            "seconds": time.monotonic() - kept.begun,
        }
        try:
            self._checkpoints.write(CHECKPOINT, Checkpoint(tensors, note))
        except CryobridgeError as error:
            self._context.say(f"no checkpoint: {error}")
        self._saved = time.monotonic()

    def _glimpse(self, number: int) -> Glimpse:
        """The first subtomogram of an iteration, and how the network would fill it now."""
        material, first = self._drawn_for(number), torch.tensor([0])
        now = material.filled_by(first, self._answer(material, first))[0]
        return Glimpse(material.measured[0].cpu(), now.cpu(), self._loaded.wedges[self._drawn[0]])

    def _held(self) -> Iterator[Tensor]:
        return itertools.chain(self._network.parameters(), self._network.buffers())

    def _words(self, number: int, report: StepReport) -> str:
        options = self._plan.options
        steps = options.steps_per_epoch or 1
        epoch = (report.step - 1) // steps + 1
        kept_out = "" if report.held_out_loss is None else f" ({report.held_out_loss:.4f} kept out)"
        return (
            f"iteration {number}/{options.iterations}, epoch {epoch}/{options.epochs}, step "
            f"{report.step - (epoch - 1) * steps}/{steps}, loss {report.loss:.4f}{kept_out}"
        )

    def _title(self, number: int, report: StepReport) -> str:
        options = self._plan.options
        epoch = report.step // (options.steps_per_epoch or 1)
        return f"iteration {number} of {options.iterations}, epoch {epoch} of {options.epochs}"

    def _fraction(self, number: int, share: float) -> float:
        first = self._plan.done + 1
        return (number - first + share) / (self._plan.options.iterations - self._plan.done)


@dataclass(frozen=True)
class _Kept:
    """What a checkpoint holds of the beginning of its iteration: the network, and when it was, by the clock."""

    before: Mapping[str, Tensor]
    begun: float


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    return ((name.removeprefix(prefix), value) for name, value in tensors.items() if name.startswith(prefix))
