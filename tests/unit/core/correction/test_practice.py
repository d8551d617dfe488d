"""Simulated crops: they follow from a seed and a step, and a network can learn from them."""

from __future__ import annotations

import pytest
import torch

from cryobridge.core.correction import CorrectionState, Practice, PretrainingTask
from cryobridge.core.training import Trainer, TrainingRecord
from cryobridge.schemas.correction import CorrectionOptions

SIDE = 16


def test_crops_follow_from_seed_and_step_alone() -> None:
    straight, later = (Practice(3, 2, SIDE, lifetime=2, box=32) for _ in range(2))
    for step in range(4):
        straight.at(step)
    first, second = straight.at(4), later.at(4)
    assert torch.equal(first.seen, second.seen)
    assert torch.equal(first.truth, second.truth)
    assert not torch.equal(first.seen, straight.at(5).seen)


def test_what_is_seen_resembles_the_truth_and_lacks_something() -> None:
    practice = Practice(3, 6, SIDE, lifetime=1, box=32)
    crops = practice.at(0)
    assert crops.seen.shape == crops.mask.shape == crops.truth.shape == (6, 1, SIDE, SIDE, SIDE)
    similar = torch.corrcoef(torch.stack([crops.seen.flatten(), crops.truth.flatten()]))[0, 1]
    assert 0.3 < float(similar) < 0.99
    assert 0.5 < float(crops.truth.std()) < 3


@pytest.mark.slow
def test_a_network_learns_from_them() -> None:
    """Crops that it has not seen come out nearer to the truth than they went in."""
    options = CorrectionOptions(preset="tiny", norm="none", see_mask=True, batch=3, learning_rate=3e-3, ema=0.0)
    state = CorrectionState.new(options, "cpu")
    task = PretrainingTask(state, Practice(5, 3, 24, lifetime=8, box=32))
    unseen = [task.batch(0, 1000 + step) for step in range(0, 64, 8)]

    def score() -> float:
        with torch.no_grad():
            return sum(float(task.score("0", state.learner(1).network, batch)) for batch in unseen)

    untrained = score()
    for _ in Trainer(task, state, options, steps=60, seed=0, record=TrainingRecord()).run():
        pass
    assert score() < 0.93 * untrained
