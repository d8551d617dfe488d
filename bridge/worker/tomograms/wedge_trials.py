"""Networks that learn from the tomograms of a job, and the held-out wedge that says which of them is used."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from cryobridge.core.tomogram import (
    NAME,
    Glimpse,
    HeldOutScore,
    ScenePractice,
    SignalEvidence,
    TomogramBlock,
    WedgeTask,
    glimpse_of,
    held_out_score,
)
from cryobridge.core.training import Learned, Parking, Ranks, StepReport, Trainer, TrainingRecord
from cryobridge.schemas.errors import BadResult, CryobridgeError
from cryobridge.schemas.wedge import WedgeOptions

from ..jobs.checkpoint import Checkpoint, Checkpoints
from ..loop import Progress, scaled
from ..training.ladder import within_memory
from .live_preview import LivePreview
from .wedge_correction import answering
from .wedge_network import StoredWedgeNetwork, new_learned, weights_of

How = Literal["untouched", "practised", "alone", "anew"]
"""untouched: as the network came; practised: trained here, half of every batch simulated; alone: on these tomograms
only; anew: from a network that knew nothing."""
_PREFERENCE: tuple[How, ...] = ("practised", "alone", "anew", "untouched")
_TIE = 0.01
"""Of the held-out score: trials that are nearer to each other are not told apart."""
_JUDGED_BY = 3
_PRACTICE_SEED = 1000


@dataclass(frozen=True)
class WedgeTrial:
    """One network, how it came about, and how it did.

    Attributes
    ----------
    weights
        Averaged, on the CPU.
    losses
        Of its training here.
    held_out
        Losses of cubes that were kept out, one each `held_out_every` steps.
    """

    how: How
    weights: dict[str, Tensor]
    losses: list[float]
    score: HeldOutScore
    seconds: float
    held_out: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class _Run:
    """One training: how, and which of so many networks it makes that differ in the seed."""

    how: How
    number: int = 1
    count: int = 1

    @property
    def name(self) -> str:
        """Of its checkpoint."""
        return self.how if self.number == 1 else f"{self.how}-{self.number}"

    @property
    def words(self) -> str:
        return self.how if self.number == 1 else f"{self.how}, network {self.number} of {self.count}"


@dataclass
class WedgeTrials:
    """What is tried.

    Parameters
    ----------
    blocks
        To learn from and to hold sectors out of, on the device.
    evidence
        Of the first block's tomogram.
    start
        The network to begin with; None for one that knows nothing.
    options
        How it learns.
    checkpoints, every_s
        Where trainings are kept, and how many seconds there are between two looks whether to.
    hows
        What is tried; if None, all that the start allows.
    preview
        Shows how the trainings go, where they may be left off; None for no pictures.
    way
        How far a network goes from the start to where its training has led it: at the middle between both it does as
        well on these tomograms, and keeps more of what it had learned before (Wortsman et al., CVPR 2022,
        doi 10.1109/CVPR52688.2022.00780). One that began from nothing goes all the way.
    """

    blocks: Sequence[TomogramBlock]
    evidence: SignalEvidence
    start: StoredWedgeNetwork | None
    options: WedgeOptions
    device: torch.device
    checkpoints: Checkpoints
    every_s: float
    say: Callable[[str], None]
    parking: Parking
    ranks: Ranks
    hows: Sequence[How] | None = None
    preview: LivePreview | None = None
    way: float = 1.0
    _begun: list[_Run] = field(default_factory=list, init=False)

    def results(self) -> Generator[Progress | None, None, list[WedgeTrial]]:
        """Every trial; progress goes from 0 to 1.

        Raises
        ------
        BadResult
            If a loss stops being finite.
        """
        runs = [_Run(how) for how in self._hows]
        found = []
        for number, run in enumerate(runs):
            found.append((yield from self._result(run, (number / len(runs), 1 / len(runs)))))
        return found

    def chosen(self, count: int) -> Generator[Progress | None, None, tuple[list[WedgeTrial], list[WedgeTrial]]]:
        """Every trial; and the networks to use: the best of them, and others trained like it from other seeds.

        One that was not trained has no others like it. Progress goes from 0 to 1.

        Parameters
        ----------
        count
            How many networks are wanted.

        Raises
        ------
        BadResult
            If a loss stops being finite.
        """
        whole = len(self._hows) + count - 1
        tried = yield from scaled(0.0, len(self._hows) / whole, self.results())
        members = [best_of(tried)]
        if members[0].how == "untouched":
            return tried, members
        for number in range(2, count + 1):
            share = ((len(self._hows) + number - 2) / whole, 1 / whole)
            members.append((yield from self._result(_Run(members[0].how, number, count), share)))
        return tried, members

    def clear(self) -> None:
        """Remove the checkpoints: the job is finished."""
        self.checkpoints.remove(*(name for run in self._begun for name in (run.name, f"done-{run.name}")))

    @property
    def _hows(self) -> list[How]:
        if self.hows is not None:
            return list(self.hows)
        if self.start is None:
            return ["anew"]
        return ["untouched", "practised", "alone"] if self.options.steps > 0 else ["untouched"]

    def _result(self, run: _Run, share: tuple[float, float]) -> Generator[Progress | None, None, WedgeTrial]:
        """What a training has made, now or before the job was interrupted."""
        self._begun.append(run)
        found = self._kept(run)
        if found is None:
            options = self.options.model_copy(update={"seed": self.options.seed + run.number - 1})
            attempts = [options, options.model_copy(update={"acc_batches": options.batch})]
            attempts = attempts if self.ranks.count == 1 else attempts[:1]
            found = yield from within_memory(attempts, lambda one, _: self._one(run, one, share), self.device, self.say)
            self._keep_result(run, found)
        return found

    def _one(
        self, run: _Run, options: WedgeOptions, share: tuple[float, float]
    ) -> Generator[Progress | None, None, WedgeTrial]:
        started, begun = time.monotonic(), share[0]
        learned = new_learned(options, self.device) if self.start is None else self.start.learned(options, self.device)
        record = TrainingRecord()
        with self.parking.holding(learned.held), self.parking.holding(self._held):
            if run.how != "untouched":
                practice = None
                if run.how == "practised":
                    practice = ScenePractice(_PRACTICE_SEED + options.seed, options.batch // 2, options.cube_size)
                task = WedgeTask(learned, self.blocks, options, options.seed, practice)
                record = self._resumed(run, learned)
                yield from self._trained(run, learned, task, record, options, share)
                self._go_part_of_the_way(learned)
            yield Progress(f"a held-out wedge, {run.words}", begun + 0.95 * share[1])
            score = self._score(learned, options)
        seconds = time.monotonic() - started
        return WedgeTrial(run.how, weights_of(learned), record.losses, score, seconds, record.held_out)

    @torch.no_grad()
    def _go_part_of_the_way(self, learned: Learned) -> None:
        if self.start is not None:
            for name, value in learned.named[NAME].average.items():
                value.copy_(torch.lerp(self.start.weights[name].to(value), value, self.way))

    def _held(self) -> Sequence[Tensor]:
        return [one for block in self.blocks for one in (block.halves, block.seen, block.weight)]

    def _trained(
        self,
        run: _Run,
        learned: Learned,
        task: WedgeTask,
        record: TrainingRecord,
        options: WedgeOptions,
        share: tuple[float, float],
    ) -> Generator[Progress | None, None, None]:
        saved = time.monotonic()
        try:
            trainer = Trainer(
                task, learned, options, steps=options.steps, seed=options.seed, record=record, ranks=self.ranks
            )
            with self.parking.holding(task.tensors):
                for report in trainer.run():
                    done = 0.95 * report.step / report.steps
                    words = f"learning ({run.words}) {report.step}/{report.steps}, loss {report.loss:.3f}"
                    if report.held_out_loss is not None:
                        words += f", {report.held_out_loss:.3f} of cubes kept out"
                    if task.renews_at(report.step) or report.step == report.steps:
                        self._look(run, learned, options, report)
                    yield Progress(words, share[0] + share[1] * done)
                    if task.renews_at(report.step) and time.monotonic() - saved >= self.every_s:
                        self._keep(run, learned, record)
                        saved = time.monotonic()
            if record.stopped_early:
                looks = record.looks_without_better
                self.say(
                    f"learning ({run.words}) ended after {len(record.losses)} steps: the last {looks} looks at cubes "
                    "that were kept out found no better loss"
                )
        except ValueError as error:
            raise BadResult(f"training failed: {error}; try a lower learning_rate or another seed") from error

    def _look(self, run: _Run, learned: Learned, options: WedgeOptions, report: StepReport) -> None:
        if self.preview is not None:
            title = f"learning ({run.words}), step {report.step} of {report.steps}"
            self.preview.offer(title, partial(self._glimpse, learned, options))

    def _glimpse(self, learned: Learned, options: WedgeOptions) -> Glimpse:
        with answering(learned, options, self.device) as network:
            return glimpse_of(network, self.blocks[0], self.evidence)

    def _score(self, learned: Learned, options: WedgeOptions) -> HeldOutScore:
        with answering(learned, options, self.device) as network:
            return held_out_score(network, self.blocks[:_JUDGED_BY], self.evidence)

    def _resumed(self, run: _Run, learned: Learned) -> TrainingRecord:
        kept = self.checkpoints.read(run.name)
        if kept is None:
            return TrainingRecord()
        learned.load_tensors(kept.tensors)
        losses, held_out = ([float(loss) for loss in kept.note.get(name, [])] for name in ("losses", "held_out"))
        self.say(f"learning ({run.words}) goes on after step {len(losses)}")
        return TrainingRecord(losses, held_out)

    def _keep(self, run: _Run, learned: Learned, record: TrainingRecord) -> None:
        self._write(run.name, Checkpoint(learned.tensors(), {"losses": record.losses, "held_out": record.held_out}))

    def _keep_result(self, run: _Run, trial: WedgeTrial) -> None:
        note = {"losses": trial.losses, "held_out": trial.held_out, "seconds": trial.seconds}
        self._write(f"done-{run.name}", Checkpoint(trial.weights, note))

    def _kept(self, run: _Run) -> WedgeTrial | None:
        """A trial that an earlier attempt had finished; its score is found again, which takes little."""
        kept = self.checkpoints.read(f"done-{run.name}")
        if kept is None:
            return None
        self.say(f"learning ({run.words}) was finished before the interruption")
        weights = dict(kept.tensors)
        width = weights["first.weight"].shape[0]
        learned = StoredWedgeNetwork(width, weights).learned(self.options, self.device)
        score = self._score(learned, self.options)
        losses, held_out = list(kept.note["losses"]), list(kept.note.get("held_out", []))
        return WedgeTrial(run.how, weights, losses, score, float(kept.note["seconds"]), held_out)

    def _write(self, name: str, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; a full disk costs the chance to go on from it, not the training itself."""
        try:
            self.checkpoints.write(name, checkpoint)
        except CryobridgeError as error:
            self.say(f"no checkpoint: {error}")


def best_of(trials: Sequence[WedgeTrial]) -> WedgeTrial:
    """The trial with the best held-out score; of those as good, one that practised beside, then one that learned here.

    Where nothing could be compared it is the first by the same order.
    """
    scored = [one.score.score for one in trials if one.score.score is not None]
    top = max(scored, default=None)
    as_good = [one for one in trials if top is None or (one.score.score is not None and one.score.score >= top - _TIE)]
    return min(as_good, key=lambda one: _PREFERENCE.index(one.how))
