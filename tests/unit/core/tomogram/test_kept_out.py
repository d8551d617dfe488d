"""Cubes kept out of a training: where they lie, that they stay the same, and that the training ends by them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from cryobridge.core.tomogram import (
    NAME,
    Curve,
    TomogramBlock,
    Wedge,
    WedgeTask,
    all_places,
    divided_places,
    new_network,
    wedge_weight,
)
from cryobridge.core.training import Learned, Trainer, TrainingRecord, initialised_from
from cryobridge.schemas.wedge import WedgeOptions

OPTIONS = WedgeOptions(
    base_width=2, cube_size=16, batch=2, free_rotations=0.0, held_out=3, held_out_every=1, patience=2
)


def block(shape: tuple[int, int, int], margin: int = 0, number: float = 0.0) -> TomogramBlock:
    """A block whose every voxel is its place along x, and a hundred times the block's number."""
    halves = torch.arange(shape[2], dtype=torch.float32).expand(2, *shape) + 100 * number
    return TomogramBlock(
        halves.clone(),
        halves.clone(),
        wedge_weight(Wedge.of_range(), shape),
        Curve(torch.ones(32)),
        Wedge.of_range(),
        margin,
    )


def learner(options: WedgeOptions) -> Learned:
    with initialised_from(0):
        return Learned({NAME: new_network(options)}, options, torch.device("cpu"))


def task(blocks: list[TomogramBlock], **changed: Any) -> WedgeTask:
    options = OPTIONS.model_copy(update=changed)
    return WedgeTask(learner(options), blocks, options, 5)


@pytest.mark.parametrize("turned", [False, True])
def test_no_cube_that_is_learned_from_touches_the_slab(turned: bool) -> None:
    side = 16
    shares = divided_places([block((32, 40, 64), margin=4)], side, turned=turned)
    (learned,), (kept,) = shares.learned, shares.kept
    assert kept.first == (4, 4, 64 - 4 - side)
    assert kept.count == (9, 17, 1)
    assert learned.count[:2] == (9, 17)
    reach = (math.sqrt(3) - 1) / 2 * side if turned else 0
    last = learned.first[2] + learned.count[2] - 1 + side - 1
    assert last + reach < kept.first[2]
    assert last + 1 - learned.first[2] >= 1.5 * side


def test_of_short_blocks_one_is_kept_out_whole_and_a_single_one_is_not() -> None:
    short = [block((24, 24, 24)), block((24, 24, 32))]
    shares = divided_places(short, 16, turned=False)
    assert [one.block for one in shares.learned] == [0]
    assert shares.kept == all_places(short, 16).learned[1:]
    alone = divided_places(short[:1], 16, turned=False)
    assert alone.kept == ()
    assert alone.learned == all_places(short[:1], 16).learned


def test_batches_and_cubes_kept_out_hold_their_own_places_only() -> None:
    made = task([block((16, 16, 64))])
    held_out = made.held_out()
    assert held_out is not None
    assert held_out["seen"].shape == held_out["target"].shape == (3, 1, 16, 16, 16)
    assert float(held_out["target"].min()) == 48
    assert all(float(made.batch(1, step)["target"].max()) < 48 for step in range(4))


def test_a_block_kept_out_is_in_no_batch() -> None:
    made = task([block((24, 24, 24)), block((24, 24, 24), number=1)])
    held_out = made.held_out()
    assert held_out is not None
    assert float(held_out["target"].min()) >= 100
    assert all(float(made.batch(1, step)["target"].max()) < 100 for step in range(4))


def test_cubes_kept_out_are_the_same_at_every_look_and_in_every_process() -> None:
    made = task([block((16, 16, 64))])
    first = made.held_out()
    made.batch(1, 0)
    again, other = made.held_out(), task([block((16, 16, 64))]).held_out()
    assert first is not None
    assert other is not None
    assert again is first
    assert all(torch.equal(value, other[name]) for name, value in first.items())
    assert any(value is first["seen"] for value in made.tensors())


def test_without_cubes_to_keep_out_the_batches_are_those_of_before() -> None:
    short = [block((24, 24, 24))]
    asked, not_asked = task(short), task(short, held_out=0, patience=None)
    assert asked.held_out() is None
    assert not_asked.held_out() is None
    one, other = asked.batch(1, 0), not_asked.batch(1, 0)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(("rising", "ends_after"), [(True, 3), (False, 8)])
def test_a_training_ends_when_cubes_kept_out_gain_nothing(
    rising: bool, ends_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def score(*_: Any) -> torch.Tensor:
        looks.append(1)
        return torch.tensor(float(len(looks) if rising else -len(looks)))

    monkeypatch.setattr(WedgeTask, "score", score)
    options, record = OPTIONS.model_copy(update={"learning_rate": 1e-6}), TrainingRecord()
    learned = learner(options)
    made = WedgeTask(learned, [block((16, 16, 64))], options, 5)
    for _ in Trainer(made, learned, options, steps=8, seed=0, record=record).run():
        pass
    assert len(record.losses) == len(record.held_out) == ends_after
    assert record.stopped_early is rising
    # What was kept of a training that is to go on is enough to know that it is over.
    again = TrainingRecord(list(record.losses), list(record.held_out))
    assert again.is_enough(options) is rising
