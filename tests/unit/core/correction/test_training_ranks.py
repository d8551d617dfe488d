"""Several ranks learn what one process learns from the whole batch, and refuse a batch that they cannot share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.correction_data import equal_states, noisy_pair, tiny_options
from support.thread_ranks import Meeting, ThreadRanks, on_ranks
from torch import Tensor

from cryobridge.core.correction import CorrectionState, train
from cryobridge.core.training import TrainingRecord
from cryobridge.core.training.ranks import ALONE, Ranks, share_of
from cryobridge.schemas.correction import CorrectionOptions

pytestmark = pytest.mark.slow


def _gradients(state: CorrectionState) -> Tensor:
    """The means that Adam keeps: after one step a tenth of the gradient."""
    return torch.cat([value.flatten() for name, value in state.tensors().items() if ".exp_avg." in name])


def _alone_and_together(count: int, options: CorrectionOptions) -> tuple[CorrectionState, CorrectionState]:
    """Train alone, and on so many ranks, which must all end alike and see the losses that one process sees."""
    data = noisy_pair()
    alone, record = CorrectionState.new(options, "cpu"), TrainingRecord()
    list(train(alone, *data, options, record=record))
    states = [CorrectionState.new(options, "cpu") for _ in range(count)]
    records = [TrainingRecord() for _ in range(count)]

    def work(own: Ranks) -> None:
        list(train(states[own.index], *data, options, record=records[own.index], ranks=own))

    on_ranks(count, work)
    assert all(equal_states(state, states[0]) for state in states)
    assert all(other == records[0] for other in records)
    assert records[0].losses == pytest.approx(record.losses, rel=1e-5)
    assert records[0].held_out == pytest.approx(record.held_out, rel=1e-5)
    return alone, states[0]


@pytest.mark.parametrize(
    "chosen",
    [
        {"acc_batches": 2},
        {"loss": "published", "fresh_crops": False, "n_subvolume": 9},
    ],
)
def test_ranks_learn_what_one_process_does(chosen: dict[str, Any]) -> None:
    options = tiny_options(batch=6, steps=4, norm="none", identity_start=False, held_out=3, held_out_every=2, **chosen)
    alone, together = _alone_and_together(2, options)
    a, b = alone.tensors(), together.tensors()
    assert max(float((a[name].double() - b[name].double()).abs().max()) for name in a) < 1e-5


# With group normalisation many gradients are 0 but for rounding. Adam divides each by its own size, so it is the
# gradients that agree to rounding and not each weight.
@pytest.mark.parametrize(
    ("ranks", "chosen"),
    [
        (2, {"acc_batches": 3}),
        (3, {"acc_batches": 3, "mode": "independent", "noise": 1.0}),
    ],
)
def test_ranks_agree_on_the_gradient_of_the_whole_batch(ranks: int, chosen: dict[str, Any]) -> None:
    options = tiny_options(batch=6, steps=1, norm="group", identity_start=False, gradient_clip=None, **chosen)
    alone, together = _alone_and_together(ranks, options)
    expected = _gradients(alone)
    assert float((_gradients(together) - expected).norm() / expected.norm()) < 1e-4


def test_with_batch_normalisation_all_ranks_still_agree() -> None:
    data = noisy_pair()
    options = tiny_options(batch=4, steps=2, norm="batch")
    states = [CorrectionState.new(options, "cpu") for _ in range(2)]
    on_ranks(2, lambda own: list(train(states[own.index], *data, options, ranks=own)))
    assert equal_states(*states)


def test_ranks_stop_early_at_the_same_step() -> None:
    data = noisy_pair()
    options = tiny_options(steps=30, held_out=3, held_out_every=1, patience=2, learning_rate=1e-12, schedule="constant")
    states = [CorrectionState.new(options, "cpu") for _ in range(2)]
    reports = on_ranks(2, lambda own: list(train(states[own.index], *data, options, ranks=own)))
    assert reports[0] == reports[1]
    assert len(reports[0]) < 30


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    options = tiny_options(batch=4)
    state = CorrectionState.new(options, "cpu")
    with pytest.raises(ValueError, match="multiple of 3"):
        next(train(state, *noisy_pair(), options, ranks=ThreadRanks(0, Meeting(3))))
    assert state.steps_done == 0


def test_shares_are_disjoint_and_together_everything() -> None:
    things = list(range(7))
    shares = [things[share_of(7, ThreadRanks(index, Meeting(3)))] for index in range(3)]
    assert sorted(thing for share in shares for thing in share) == things
    assert things[share_of(7, ALONE)] == things
