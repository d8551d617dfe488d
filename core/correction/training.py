"""Trains the network or networks of a correction on crops of the half-maps themselves."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from cryobridge.schemas.correction import CorrectionOptions

from ..training import ALONE, Ranks, StepReport, Trainer, TrainingRecord
from .material import materials
from .sight import Sight
from .state import CorrectionState
from .task import CorrectionTask


def train(
    state: CorrectionState,
    half1: Tensor,
    half2: Tensor,
    weight3d: Tensor,
    mask: Tensor | None,
    options: CorrectionOptions,
    *,
    record: TrainingRecord | None = None,
    ranks: Ranks = ALONE,
) -> Iterator[StepReport]:
    """Train the state's network(s) on two half-maps (n, n, n), in place, one step for each value drawn.

    The network sees the half-maps weighted or as they are, as the options say. See `trainer_of` for what is asked of
    the arguments, and for the errors.
    """
    record = TrainingRecord() if record is None else record
    yield from trainer_of(state, Sight((half1, half2), weight3d, mask), options, record=record, ranks=ranks).run()


def trainer_of(
    state: CorrectionState,
    sight: Sight,
    options: CorrectionOptions,
    *,
    record: TrainingRecord,
    ranks: Ranks = ALONE,
) -> Trainer:
    """The training of the state's network(s) on two half-maps.

    Parameters
    ----------
    state
        A new one, or the one of the iteration before (a warm start: fewer steps, moments of the optimiser kept).
        It is whole after every step, so the training may be left off at any time.
    sight
        Both half-maps (n, n, n), on any scale where they are not levelled; how well each Fourier voxel is measured,
        (n, n, n // 2 + 1) in [0, 1], DC first; and where the particle is (n, n, n), or None for everywhere.
    options
        As the state was made with, as far as the networks' shape goes.
    record, ranks
        See `core.training.Trainer`.

    Raises
    ------
    ValueError
        If shapes do not agree, a map is not finite or constant, the record is of another training, or the ranks cannot
        share a batch evenly; in training, if the loss stops being finite.
    """
    record.check(state.steps_done, options)
    started_at = state.steps_done - len(record.losses)
    # A warm call must not see the crops of the first one again.
    seed = (options.seed * 1_000_003 + started_at) % 2**63
    learned_from = materials(sight, options, device=state.device, seed=seed)
    warm = started_at > 0
    return Trainer(
        CorrectionTask(state, learned_from, options, seed),
        state,
        options,
        steps=options.total_steps(warm=warm),
        seed=seed,
        record=record,
        warm=warm,
        ranks=ranks,
    )
