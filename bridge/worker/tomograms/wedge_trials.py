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
from ..loop import Progress
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
    """

    how: How
    weights: dict[str, Tensor]
    losses: list[float]
    score: HeldOutScore
    seconds: float


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
    _done: list[WedgeTrial] = field(default_factory=list, init=False)

    def results(self) -> Generator[Progress | None, None, list[WedgeTrial]]:
        """Every trial; progress goes from 0 to 1.

        Raises
        ------
        BadResult
            If a loss stops being finite.
        """
        hows: list[How] = ["anew"] if self.start is None else ["untouched"]
        if self.start is not None and self.options.steps > 0:
            hows += ["practised", "alone"]
        hows = hows if self.hows is None else list(self.hows)
        for number, how in enumerate(hows):
            kept = self._kept(how)
            if kept is None:
                attempts = [self.options, self.options.model_copy(update={"acc_batches": self.options.batch})]
                attempts = attempts if self.ranks.count == 1 else attempts[:1]
                share = (number / len(hows), 1 / len(hows))
                kept = yield from within_memory(attempts, self._attempt(how, share), self.device, self.say)
                self._keep_result(kept)
            self._done.append(kept)
        return self._done

    def clear(self) -> None:
        """Remove the checkpoints: the job is finished."""
        self.checkpoints.remove(*(name for how in _PREFERENCE for name in (how, f"done-{how}")))

    def _attempt(
        self, how: How, share: tuple[float, float]
    ) -> Callable[[WedgeOptions, int], Generator[Progress | None, None, WedgeTrial]]:
        return lambda options, _: self._one(how, options, share)

    def _one(
        self, how: How, options: WedgeOptions, share: tuple[float, float]
    ) -> Generator[Progress | None, None, WedgeTrial]:
        started, begun = time.monotonic(), share[0]
        learned = new_learned(options, self.device) if self.start is None else self.start.learned(options, self.device)
        record = TrainingRecord()
        with self.parking.holding(learned.held), self.parking.holding(self._held):
            if how != "untouched":
                practice = None
                if how == "practised":
                    practice = ScenePractice(_PRACTICE_SEED + options.seed, options.batch // 2, options.cube_size)
                task = WedgeTask(learned, self.blocks, options, options.seed, practice)
                record = self._begun(how, learned)
                yield from self._trained(how, learned, task, record, options, share)
            yield Progress(f"a held-out wedge, {how}", begun + 0.95 * share[1])
            score = self._score(learned, options)
        return WedgeTrial(how, weights_of(learned), record.losses, score, time.monotonic() - started)

    def _held(self) -> Sequence[Tensor]:
        return [one for block in self.blocks for one in (block.halves, block.seen, block.weight)]

    def _trained(
        self,
        how: How,
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
                    words = f"learning ({how}) {report.step}/{report.steps}, loss {report.loss:.3f}"
                    if task.renews_at(report.step) or report.step == report.steps:
                        self._look(how, learned, options, report)
                    yield Progress(words, share[0] + share[1] * done)
                    if task.renews_at(report.step) and time.monotonic() - saved >= self.every_s:
                        self._keep(how, learned, record)
                        saved = time.monotonic()
        except ValueError as error:
            raise BadResult(f"training failed: {error}; try a lower learning_rate or another seed") from error

    def _look(self, how: How, learned: Learned, options: WedgeOptions, report: StepReport) -> None:
        if self.preview is not None:
            title = f"learning ({how}), step {report.step} of {report.steps}"
            self.preview.offer(title, partial(self._glimpse, learned, options))

    def _glimpse(self, learned: Learned, options: WedgeOptions) -> Glimpse:
        with answering(learned, options, self.device) as network:
            return glimpse_of(network, self.blocks[0], self.evidence)

    def _score(self, learned: Learned, options: WedgeOptions) -> HeldOutScore:
        with answering(learned, options, self.device) as network:
            return held_out_score(network, self.blocks[:_JUDGED_BY], self.evidence)

    def _begun(self, how: How, learned: Learned) -> TrainingRecord:
        kept = self.checkpoints.read(how)
        if kept is None:
            return TrainingRecord()
        learned.load_tensors(kept.tensors)
        losses = [float(loss) for loss in kept.note["losses"]]
        self.say(f"learning ({how}) goes on after step {len(losses)}")
        return TrainingRecord(losses)

    def _keep(self, how: How, learned: Learned, record: TrainingRecord) -> None:
        self._write(how, Checkpoint(learned.tensors(), {"losses": record.losses}))

    def _keep_result(self, trial: WedgeTrial) -> None:
        self._write(f"done-{trial.how}", Checkpoint(trial.weights, {"losses": trial.losses, "seconds": trial.seconds}))

    def _kept(self, how: How) -> WedgeTrial | None:
        """A trial that an earlier attempt had finished; its score is found again, which takes little."""
        kept = self.checkpoints.read(f"done-{how}")
        if kept is None:
            return None
        self.say(f"learning ({how}) was finished before the interruption")
        weights = dict(kept.tensors)
        width = weights["first.weight"].shape[0]
        learned = StoredWedgeNetwork(width, weights).learned(self.options, self.device)
        score = self._score(learned, self.options)
        return WedgeTrial(how, weights, list(kept.note["losses"]), score, float(kept.note["seconds"]))

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
