"""Networks of one job, trained one after another with checkpoints, and the maps that they make of both halves."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cryobridge.core.correction import CorrectionState, ReadyPair
from cryobridge.core.diagnosis import cone_trial
from cryobridge.core.fourier import last_shell
from cryobridge.core.training import Parking, Ranks, StepReport, TrainingRecord
from cryobridge.schemas.correction import CorrectionOptions
from cryobridge.schemas.errors import CryobridgeError

from ..jobs.checkpoint import Checkpoint, Checkpoints
from ..jobs.pretrained import StoredNetwork
from ..loop import Progress
from .ladder import smaller_attempts, within_memory
from .pair import predicted, trained

TRAINING = "checkpoint"
_PREDICTION = 0.1
_NO_WORSE = 0.005
"""Ours: seeds differ by as much."""
_MOMENTS = ("exp_avg.", "exp_avg_sq.", "step.")
_ADVICE = "; try a lower learning_rate or another seed"


@dataclass(frozen=True)
class NetworkChoice:
    """FSC to the other half-map in a cone that was made bad, of the network as it came and as it was trained."""

    untouched: float
    trained: float

    @property
    def keeps_trained(self) -> bool:
        """Whether the trained network is used; what is no worse is, since it knows these half-maps."""
        return self.trained >= self.untouched - _NO_WORSE


@dataclass(frozen=True)
class Trained:
    """What one network made.

    map1, map2
        Its maps of both halves, (n, n, n) on the host.
    network
        What it has learned, as `CorrectionState.tensors` without the optimiser's part.
    record, seconds
        How its training went, and how long it took.
    choice
        How the network that it started from and the trained one did in a trial, and which was used; None without one.
    """

    map1: Tensor
    map2: Tensor
    network: dict[str, Tensor]
    record: TrainingRecord
    seconds: float
    choice: NetworkChoice | None = None

    @property
    def maps(self) -> tuple[Tensor, Tensor]:
        """The maps of both halves."""
        return self.map1, self.map2


@dataclass
class Ensemble:
    """How the networks of a job are trained.

    Parameters
    ----------
    ready
        What from.
    options
        Of the first network; the others differ in the seed.
    networks
        How many.
    start
        The network to start from, or None.
    checkpoints, every_s
        Where the work is kept, and how many seconds there are between two checkpoints of a training.
    say
        Takes a line for the log.
    parking
        Where what is trained may be moved off the device between two steps; the pair is its owner's to name.
    ranks
        Processes that train together. The first of them predicts.
    """

    ready: ReadyPair
    options: CorrectionOptions
    networks: int
    start: StoredNetwork | None
    device: torch.device
    checkpoints: Checkpoints
    every_s: float
    say: Callable[[str], None]
    parking: Parking
    ranks: Ranks
    _saved: float = field(default=0.0, init=False)

    def results(self) -> Generator[Progress | None, None, list[Trained]]:
        """Train every network in turn and predict; yields between steps.

        Progress goes from 0 to 1.

        Raises
        ------
        BadResult
            If the loss stops being finite.
        """
        found = []
        for index in range(self.networks):
            one = self._kept(index)
            if one is None:
                one = yield from self._within_memory(index)
            found.append(one)
        return found

    def clear(self) -> None:
        """Remove the checkpoints: the job is finished."""
        self.checkpoints.remove(TRAINING, *(_finished_name(index) for index in range(self.networks)))

    def _within_memory(self, index: int) -> Generator[Progress | None, None, Trained]:
        attempts = smaller_attempts(self.options.model_copy(update={"seed": self.options.seed + index}))
        # One of several ranks cannot change its batches alone.
        attempts = attempts if self.ranks.count == 1 else attempts[:1]
        return (yield from within_memory(attempts, lambda one, _: self._one(index, one), self.device, self.say))

    def _one(self, index: int, options: CorrectionOptions) -> Generator[Progress | None, None, Trained]:
        state, record, seconds = self._begin(index, options)
        with self.parking.holding(state.held):
            seconds = yield from self._trained(index, state, record, seconds, options)
            if self.ranks.index > 0:
                nothing = torch.empty(0)
                return Trained(nothing, nothing, {}, record, seconds)
            state, choice = yield from self._chosen(index, state, options)
            maps = yield from self._predicted(index, state, options)
        learned = {key: value for key, value in state.tensors().items() if not _is_moment(key)}
        found = Trained(maps[0], maps[1], learned, record, seconds, choice)
        self._write(_finished_name(index), _as_checkpoint(found))
        return found

    def _trained(
        self, index: int, state: CorrectionState, record: TrainingRecord, resumed_at: float, options: CorrectionOptions
    ) -> Generator[Progress | None, None, float]:
        """Train, with a checkpoint now and then; return the seconds it took in all."""
        seconds, started = resumed_at, time.monotonic()
        self._saved = started
        for report in trained(state, self.ready, options, record, self.parking, self.ranks, _ADVICE):
            seconds = resumed_at + time.monotonic() - started
            if time.monotonic() - self._saved >= self.every_s:
                self._keep(index, state, record, seconds)
            yield self._progress(index, report)
        self._keep(index, state, record, seconds)
        return seconds

    def _chosen(
        self, index: int, state: CorrectionState, options: CorrectionOptions
    ) -> Generator[Progress | None, None, tuple[CorrectionState, NetworkChoice | None]]:
        """The trained network, or the one that it started from where that does better in a trial."""
        limit = last_shell(self.ready.box, self.ready.voxel_size_A, self.ready.limit_A) + 1
        generator = torch.Generator().manual_seed(options.seed)
        # The trial asks the other half, so halves that are to know nothing of each other have none.
        tried = options.total_steps(warm=False) > 0 and options.mode == "shared"
        trial = cone_trial(self.ready.sight, limit, generator) if self.start is not None and tried else None
        if trial is None or self.start is None:
            return state, None
        yield Progress("trying the network, untouched and trained", self._fraction(index, 1 - _PREDICTION))
        untouched, once = self.start.started(options, self.device), options.model_copy(update={"average_turns": 1})
        found = []
        for one in (untouched, state):
            with self.parking.holding(trial.sight.tensors), self.parking.holding(one.held):
                made = yield from predicted(one, 1, trial.sight.starts[0], trial.sight, once, self.parking)
            found.append(trial.score(made))
        choice = NetworkChoice(*found)
        return (state if choice.keeps_trained else untouched), choice

    def _predicted(
        self, index: int, state: CorrectionState, options: CorrectionOptions
    ) -> Generator[Progress | None, None, list[Tensor]]:
        maps, ready = list[Tensor](), self.ready
        for half, seen in enumerate(ready.sight.starts, 1):
            which = "" if self.networks == 1 else f" by network {index + 1} of {self.networks}"
            share = 1 - _PREDICTION * (3 - half) / 2
            yield Progress(f"predicting half-map {half}{which}", self._fraction(index, share))
            network_map = yield from predicted(state, half, seen, ready.sight, options, self.parking)
            maps.append(network_map.cpu())
        return maps

    def _begin(self, index: int, options: CorrectionOptions) -> tuple[CorrectionState, TrainingRecord, float]:
        """The state and record to go on with: of the checkpoint, of the network that was given, or new."""
        kept = self.checkpoints.read(TRAINING)
        if kept is not None and kept.note.get("network") == index:
            state = CorrectionState.from_tensors(kept.tensors, options, self.device)
            record = _record(kept)
            self.say(f"network {index + 1}: goes on after step {len(record.losses)}")
            return state, record, float(kept.note["seconds"])
        if self.start is not None:
            return self.start.started(options, self.device), TrainingRecord(), 0.0
        return CorrectionState.new(options, self.device), TrainingRecord(), 0.0

    def _keep(self, index: int, state: CorrectionState, record: TrainingRecord, seconds: float) -> None:
        note = {"network": index, "seconds": seconds, "losses": record.losses, "held_out": record.held_out}
        self._write(TRAINING, Checkpoint(state.tensors(), note))
        self._saved = time.monotonic()

    def _write(self, name: str, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; a full disk costs the chance to go on from it, not the training itself."""
        try:
            self.checkpoints.write(name, checkpoint)
        except CryobridgeError as error:
            self.say(f"no checkpoint: {error}")

    def _kept(self, index: int) -> Trained | None:
        """The result of a network that an earlier attempt had finished."""
        kept = self.checkpoints.read(_finished_name(index))
        if kept is None:
            return None
        self.say(f"network {index + 1}: was finished before the interruption")
        network = {key.removeprefix("network/"): value for key, value in kept.tensors.items() if "/" in key}
        choice = NetworkChoice(*kept.note["choice"]) if kept.note.get("choice") else None
        seconds = float(kept.note["seconds"])
        return Trained(kept.tensors["map1"], kept.tensors["map2"], network, _record(kept), seconds, choice)

    def _progress(self, index: int, report: StepReport) -> Progress:
        which = "" if self.networks == 1 else f"network {index + 1} of {self.networks}, "
        held_out = "" if report.held_out_loss is None else f" ({report.held_out_loss:.3f} held out)"
        return Progress(
            f"{which}training {report.step}/{report.steps}, loss {report.loss:.3f}{held_out}",
            self._fraction(index, (1 - _PREDICTION) * report.step / report.steps),
        )

    def _fraction(self, index: int, share: float) -> float:
        return (index + share) / self.networks


def _finished_name(index: int) -> str:
    return f"network-{index + 1}"


def _is_moment(name: str) -> bool:
    return name.partition(".")[2].startswith(_MOMENTS)


def _as_checkpoint(found: Trained) -> Checkpoint:
    tensors = {"map1": found.map1, "map2": found.map2}
    tensors |= {f"network/{name}": value for name, value in found.network.items()}
    record = found.record
    choice = None if found.choice is None else [found.choice.untouched, found.choice.trained]
    note = {"seconds": found.seconds, "losses": record.losses, "held_out": record.held_out, "choice": choice}
    return Checkpoint(tensors, note)


def _record(kept: Checkpoint) -> TrainingRecord:
    return TrainingRecord(list(kept.note["losses"]), list(kept.note["held_out"]))
