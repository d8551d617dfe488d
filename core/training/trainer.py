"""Trains the networks of a task, one step for each value drawn; the caller decides what happens between two steps."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from cryobridge.schemas.training import TrainingOptions

from .gradients import Gradients, runner
from .learned import Learned
from .learner import Learner
from .ranks import ALONE, Ranks, check_divides, share_of
from .record import TrainingRecord
from .task import Batch, TrainingTask, members_of, samples_in

_WARM_UP_STEPS = 10


@dataclass(frozen=True)
class StepReport:
    """What one training step did.

    loss
        Sum of the terms, mean over the networks.
    held_out_loss
        The last score measured, or None.
    terms
        Each term of the loss by name, mean over the networks.
    """

    step: int
    steps: int
    loss: float
    held_out_loss: float | None
    terms: Mapping[str, float] = field(default_factory=dict)


class Trainer:
    """One call of a training: so many steps on one task, from where its networks are.

    Parameters
    ----------
    task
        What to learn.
    learned
        Its networks, changed in place; whole after every step, so a training may be left off at any time.
    options
        Batches, optimiser, schedule, looks at held-out samples, arithmetic.
    steps
        How many steps the whole call takes.
    seed
        Of every batch.
    record
        Filled step by step. One with entries is of a call that was broken off after them: the training goes on where
        it was, and on a CPU ends with bitwise the networks that it would have had.
    warm
        Whether the networks were trained before this call: then the learning rate does not begin low.
    ranks
        Processes that train together, each with the same networks, task and options: a rank learns from its share of
        every batch, and all step by the mean gradient. But for rounding that is what one process does with the whole
        batch; batch normalisation takes the statistics of each rank's share alone, and the mean of its running ones.

    Raises
    ------
    ValueError
        If the record is of another training, the task of other networks, or the ranks cannot share a batch evenly.
    """

    def __init__(
        self,
        task: TrainingTask,
        learned: Learned,
        options: TrainingOptions,
        *,
        steps: int,
        seed: int,
        record: TrainingRecord,
        warm: bool = False,
        ranks: Ranks = ALONE,
    ) -> None:
        record.check(learned.steps_done, options)
        check_divides(options.batch, ranks)
        if dict(task.modules) != {name: learner.network for name, learner in learned.named.items()}:
            raise ValueError(f"the task is of the networks {list(task.modules)}, not of those that are to be trained")
        self._task = task
        self._learned = learned
        self._options = options
        self._steps = steps
        self._seed = seed
        self._record = record
        self._warm = warm
        self._ranks = ranks
        self._gradients: dict[str, Gradients] = {}

    def held(self) -> Iterator[Tensor]:
        """Every tensor of the training that lies on the device, to be moved while another needs it.

        What was captured of earlier steps refers to where the tensors lay, and is let go.
        """
        self._gradients.clear()
        yield from self._learned.held()
        yield from self._task.tensors()

    def run(self) -> Iterator[StepReport]:
        """Take the steps that are left.

        Yields
        ------
        StepReport
            One after each step.

        Raises
        ------
        ValueError
            If the loss stops being finite.
        """
        options, record = self._options, self._record
        held_out = self._task.held_out()
        record.stopped_early = record.is_enough(options)
        for step in range(len(record.losses), self._steps):
            if record.stopped_early:
                return
            rate = _learning_rate(options, step, self._steps, warm=self._warm)
            batch = members_of(self._task.batch(self._seed, step), share_of(options.batch, self._ranks))
            found = [self._step(name, learner, batch, rate) for name, learner in self._learned.named.items()]
            self._learned.steps_done += 1
            terms = {name: sum(one[name] for one in found) / len(found) for name in found[0]}
            loss = sum(sum(one.values()) for one in found) / len(found)
            if not math.isfinite(loss):
                raise ValueError(f"the loss is {loss} at step {step + 1} of {self._steps}")
            record.losses.append(loss)
            if held_out is not None and (step + 1) % options.held_out_every == 0:
                record.held_out.append(self._held_out_score(held_out))
                record.stopped_early = record.is_enough(options)
            yield StepReport(step + 1, self._steps, loss, record.held_out[-1] if record.held_out else None, terms)

    def _step(self, name: str, learner: Learner, batch: Batch, rate: float) -> dict[str, float]:
        """One step of an optimiser on this rank's share of the batch; returns the terms of the whole batch's loss."""
        for group in learner.optimiser.param_groups:
            group["lr"] = rate
        gradients = self._gradients_of(name, learner)
        gradients.clear()
        count, part = samples_in(batch), self._options.batch // self._options.acc_batches
        totals: dict[str, Tensor] = {}
        for start in range(0, count, part):
            members = members_of(batch, slice(start, start + part))
            share = samples_in(members) / count
            for term, value in gradients.add(members, share).items():
                totals[term] = totals[term] + share * value if term in totals else share * value
        parameters = [parameter.grad for parameter in learner.network.parameters() if parameter.grad is not None]
        running = [buffer for buffer in learner.network.buffers() if buffer.is_floating_point()]
        self._ranks.mean_([*totals.values(), *parameters, *running])
        if self._options.gradient_clip is not None:
            nn.utils.clip_grad_norm_(learner.network.parameters(), self._options.gradient_clip)
        learner.optimiser.step()
        if self._options.ema > 0:
            learner.update_average(self._options.ema, self._learned.steps_done)
        return dict(zip(totals, torch.stack(list(totals.values())).tolist(), strict=True))

    def _gradients_of(self, name: str, learner: Learner) -> Gradients:
        if name not in self._gradients:
            run = runner(learner.runnable(self._options), self._options, self._learned.device)
            losses = partial(self._task.losses, name, run)
            graphed = self._task.fixed_shapes and not self._options.compile
            self._gradients[name] = Gradients(losses, learner, self._learned.device, graphed=graphed)
        return self._gradients[name]

    def _held_out_score(self, held_out: Batch) -> float:
        """The mean score of the averaged networks on the samples kept out."""
        count, options = samples_in(held_out), self._options
        mine = members_of(held_out, share_of(count, self._ranks))
        total = 0.0
        for name, learner in self._learned.named.items():
            with torch.no_grad(), learner.averaged(options) as network:
                run = runner(network, options, self._learned.device)
                for start in range(0, samples_in(mine), options.batch):
                    members = members_of(mine, slice(start, start + options.batch))
                    total += float(self._task.score(name, run, members)) * (samples_in(members) / count)
        # One number for all ranks, since they must all stop at the same step.
        agreed = torch.tensor(total, dtype=torch.float64, device=self._learned.device)
        self._ranks.mean_([agreed])
        return float(agreed) * self._ranks.count / len(self._learned.named)


def _learning_rate(options: TrainingOptions, step: int, steps: int, *, warm: bool) -> float:
    if options.schedule == "constant":
        return options.learning_rate
    # The moments of a cold optimiser are not yet worth a full step.
    start = 1.0 if warm else min(1.0, (step + 1) / _WARM_UP_STEPS)
    return options.learning_rate * start * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))
