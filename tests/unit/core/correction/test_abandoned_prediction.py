"""A prediction is drawn step by step; what runs between two steps, or after one that nobody ends, can still learn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from cryobridge.core.correction import CorrectionState, Practice, PretrainingTask, Sight, predict_steps
from cryobridge.core.training import Trainer, TrainingRecord
from cryobridge.schemas.correction import CorrectionOptions

OPTIONS = CorrectionOptions(preset="tiny", norm="none", batch=1, crop_size=32)


@pytest.fixture(autouse=True)
def gradients_on() -> Iterator[None]:
    """No test leaves gradients off for the next one."""
    yield
    torch.set_grad_enabled(True)


def prediction() -> Iterator[Tensor | None]:
    volume = torch.randn(32, 32, 32, generator=torch.Generator().manual_seed(1))
    state = CorrectionState.new(OPTIONS, "cpu")
    return predict_steps(state, 1, volume, Sight((volume, volume), torch.ones(32, 32, 17), None), OPTIONS)


def train() -> None:
    options = CorrectionOptions(preset="tiny", norm="none", see_mask=True, batch=1)
    state = CorrectionState.new(options, "cpu")
    task = PretrainingTask(state, Practice(5, 1, 16, lifetime=8, box=32))
    assert sum(1 for _ in Trainer(task, state, options, steps=2, seed=0, record=TrainingRecord()).run()) == 2


def test_a_training_between_two_steps_of_a_prediction_learns() -> None:
    steps = prediction()
    assert next(steps) is None
    assert torch.is_grad_enabled()
    train()
    drawn = list(steps)
    assert drawn[-1] is not None
    assert not drawn[-1].requires_grad


def test_a_training_learns_while_a_prediction_that_was_abandoned_half_way_is_still_referred_to() -> None:
    abandoned = prediction()
    next(abandoned)
    train()
    del abandoned
    assert torch.is_grad_enabled()


def test_predictions_that_end_in_another_order_than_they_began_leave_gradients_on() -> None:
    first, second = prediction(), prediction()
    next(first)
    next(second)
    list(first)
    second.close()
    train()
