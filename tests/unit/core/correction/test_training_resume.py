"""A training that was broken off goes on where it was, and ends as if nothing had been."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.correction_data import equal_states, noisy_pair, tiny_options

from cryobridge.core.correction import CorrectionState, predict, train
from cryobridge.core.training import StepReport, TrainingRecord
from cryobridge.schemas.correction import CorrectionOptions

pytestmark = pytest.mark.slow

BROKEN_OFF_AFTER = 3
HELD_OUT: dict[str, Any] = {"held_out": 2, "held_out_every": 2}
NEVER_BETTER: dict[str, Any] = {
    "held_out": 1,
    "held_out_every": 1,
    "patience": 4,
    "learning_rate": 1e-12,
    "schedule": "constant",
}


def _broken_off(state: CorrectionState, options: CorrectionOptions, steps: int) -> tuple[TrainingRecord, Any]:
    """Train some steps and give what a checkpoint holds: the record, and the state's tensors."""
    record = TrainingRecord()
    training = train(state, *noisy_pair(), options, record=record)
    for _ in range(steps):
        next(training)
    training.close()
    return TrainingRecord(list(record.losses), list(record.held_out)), state.tensors()


@pytest.mark.parametrize(
    ("mode", "loss", "before"),
    [
        ("shared", "improved", 0),
        ("shared", "published", 2),
        ("independent", "improved", 2),
        ("independent", "published", 0),
    ],
)
def test_a_resumed_training_ends_bitwise_as_a_straight_one(mode: str, loss: str, before: int) -> None:
    data = noisy_pair()
    options = tiny_options(
        mode=mode,
        loss=loss,
        steps=7,
        warm_steps=7,
        norm="batch" if loss == "published" else "group",
        fresh_crops=loss == "improved",
        n_subvolume=5,
        noise=1.0,
        **HELD_OUT,
    )
    first = options.model_copy(update={"warm_steps": before, "steps": before})

    def started() -> CorrectionState:
        state = CorrectionState.new(options, "cpu")
        list(train(state, *data, first))
        return state

    straight, whole = started(), TrainingRecord()
    reports = list(train(straight, *data, options, record=whole))

    broken = started()
    record, stored = _broken_off(broken, options, BROKEN_OFF_AFTER)
    resumed = CorrectionState.from_tensors(stored, options, "cpu")
    rest = list(train(resumed, *data, options, record=record))

    assert equal_states(straight, resumed)
    assert rest == reports[BROKEN_OFF_AFTER:]
    assert record == whole
    assert [len(whole.losses), len(whole.held_out)] == [7, 3]
    results = [predict(state, 2, data[1], *data[2:], options) for state in (straight, resumed)]
    assert torch.equal(*results)


def test_without_its_record_a_state_starts_another_training() -> None:
    """What the record is for: the state alone does not say how far its last call was."""
    data, options = noisy_pair(), tiny_options(steps=4, warm_steps=1)
    straight = CorrectionState.new(options, "cpu")
    list(train(straight, *data, options))
    _, stored = _broken_off(CorrectionState.new(options, "cpu"), options, 3)
    resumed = CorrectionState.from_tensors(stored, options, "cpu")
    list(train(resumed, *data, options))
    assert resumed.steps_done == straight.steps_done
    assert not equal_states(straight, resumed)


def test_a_finished_training_that_is_resumed_does_nothing() -> None:
    options = tiny_options(steps=3)
    record, stored = _broken_off(CorrectionState.new(options, "cpu"), options, 3)
    resumed = CorrectionState.from_tensors(stored, options, "cpu")
    assert list(train(resumed, *noisy_pair(), options, record=record)) == []
    assert resumed.steps_done == 3


def test_looks_before_the_break_count_towards_stopping_early() -> None:
    # A rate this small changes nothing, so no look is better than the first.
    options = tiny_options(steps=30, **NEVER_BETTER)
    state, whole = CorrectionState.new(options, "cpu"), TrainingRecord()
    reports = list(train(state, *noisy_pair(), options, record=whole))
    assert whole.stopped_early
    assert len(reports) == 5

    record, stored = _broken_off(CorrectionState.new(options, "cpu"), options, 3)
    assert not record.stopped_early
    resumed = CorrectionState.from_tensors(stored, options, "cpu")
    rest = list(train(resumed, *noisy_pair(), options, record=record))
    assert [report.step for report in rest] == [4, 5]
    assert record == whole


def test_a_training_that_had_stopped_early_stays_stopped() -> None:
    options = tiny_options(steps=30, **NEVER_BETTER)
    record, stored = _broken_off(CorrectionState.new(options, "cpu"), options, 5)
    resumed = CorrectionState.from_tensors(stored, options, "cpu")
    assert list(train(resumed, *noisy_pair(), options, record=record)) == []
    assert record.stopped_early


def test_a_training_of_all_its_steps_has_not_stopped_early() -> None:
    options, record = tiny_options(steps=2, **HELD_OUT), TrainingRecord()
    reports: list[StepReport] = list(train(CorrectionState.new(options, "cpu"), *noisy_pair(), options, record=record))
    assert [report.loss for report in reports] == record.losses
    assert not record.stopped_early


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (TrainingRecord(losses=[1.0, 1.0]), "trained for 0 only"),
        (TrainingRecord(held_out=[1.0]), "other options"),
    ],
)
def test_the_record_of_another_training_is_refused(record: TrainingRecord, said: str) -> None:
    options = tiny_options()
    state = CorrectionState.new(options, "cpu")
    with pytest.raises(ValueError, match=said):
        next(train(state, *noisy_pair(), options, record=record))
    assert state.steps_done == 0


def test_the_looks_since_the_best_one_are_counted() -> None:
    assert TrainingRecord().looks_without_better == 0
    assert TrainingRecord(held_out=[3.0, 2.0]).looks_without_better == 0
    assert TrainingRecord(held_out=[3.0, 2.0, 2.0, 2.5]).looks_without_better == 2
    assert TrainingRecord(held_out=[3.0, 2.0, 2.5, 1.0]).looks_without_better == 0


def test_the_seed_changes_the_first_network_and_every_crop() -> None:
    first, second = (CorrectionState.new(tiny_options(seed=seed), "cpu") for seed in (0, 1))
    name = "0.network.first.weight"
    assert not torch.equal(first.tensors()[name], second.tensors()[name])

    # A network from one seed, trained with another: only crops, rotations and swaps differ.
    data = noisy_pair()
    start = CorrectionState.new(tiny_options(seed=0), "cpu").tensors()
    losses = []
    for seed in (0, 1):
        options = tiny_options(seed=seed, steps=1)
        state = CorrectionState.from_tensors(start, options, "cpu")
        losses += [report.loss for report in train(state, *data, options)]
    assert losses[0] != losses[1]
