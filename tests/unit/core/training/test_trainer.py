"""What holds of every training, shown on one that knows no maps: an autoencoder of images."""

from __future__ import annotations

import pytest
import torch
from support.image_task import ImageTask, image_options, image_trainer, new_learned
from support.thread_ranks import on_ranks

from cryobridge.core.training import Learned, StepReport, Trainer, TrainingRecord


def equal(first: Learned, second: Learned) -> bool:
    a, b = first.tensors(), second.tensors()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_what_it_never_saw() -> None:
    options = image_options(held_out=20, held_out_every=40)
    learned, record = new_learned(options), TrainingRecord()
    reports = list(image_trainer(learned, options, 120, record).run())
    assert [report.step for report in reports] == list(range(1, 121))
    assert record.held_out[-1] < 0.6 * record.held_out[0]
    assert record.losses == [report.loss for report in reports]


def test_each_term_of_the_loss_is_told_by_name() -> None:
    options = image_options(acc_batches=3)
    report: StepReport = next(image_trainer(new_learned(options), options, 1).run())
    assert set(report.terms) == {"image", "code"}
    assert sum(report.terms.values()) == pytest.approx(report.loss, rel=1e-6)
    assert report.terms["image"] > report.terms["code"] > 0


def test_a_resumed_training_ends_bitwise_as_a_straight_one_and_asks_only_for_batches_to_come() -> None:
    options = image_options(held_out=4, held_out_every=3)
    straight, whole = new_learned(options), TrainingRecord()
    list(image_trainer(straight, options, 11, whole).run())

    broken, record = new_learned(options), TrainingRecord()
    steps = image_trainer(broken, options, 11, record).run()
    for _ in range(7):
        next(steps)
    resumed = new_learned(image_options(seed=1))
    resumed.load_tensors(broken.tensors())
    task = ImageTask(resumed, options, 4)
    again = TrainingRecord(list(record.losses), list(record.held_out))
    list(Trainer(task, resumed, options, steps=11, seed=3, record=again).run())

    assert task.asked == [7, 8, 9, 10]
    assert equal(straight, resumed)
    assert again == whole


def test_networks_of_one_task_learn_apart() -> None:
    options = image_options(gradient_clip=0.01)
    pair, alone = new_learned(options, ("first", "second")), new_learned(options, ("first",))
    for learned in (pair, alone):
        list(image_trainer(learned, options, 5).run())
    together = pair.tensors()
    assert all(torch.equal(together[name], value) for name, value in alone.tensors().items())
    assert not torch.equal(together["first.network.encode.1.weight"], together["second.network.encode.1.weight"])


def test_parts_of_a_batch_add_up_to_it() -> None:
    whole, parts = image_options(acc_batches=1, gradient_clip=None), image_options(acc_batches=4, batch=8)
    whole = whole.model_copy(update={"batch": 8})
    moments = []
    for options in (whole, parts):
        learned = new_learned(options)
        next(image_trainer(learned, options, 1).run())
        moments.append({name: value for name, value in learned.tensors().items() if ".exp_avg." in name})
    assert all(torch.allclose(moments[0][name], value, rtol=1e-4, atol=1e-8) for name, value in moments[1].items())


def test_ranks_learn_what_one_process_does() -> None:
    options = image_options(held_out=5, held_out_every=2)
    alone, record = new_learned(options), TrainingRecord()
    list(image_trainer(alone, options, 4, record).run())
    shared, records = [new_learned(options) for _ in range(2)], [TrainingRecord() for _ in range(2)]
    on_ranks(
        2,
        lambda own: list(image_trainer(shared[own.index], options, 4, records[own.index], ranks=own).run()),
    )
    assert equal(*shared)
    assert records[0] == records[1]
    assert records[0].losses == pytest.approx(record.losses, rel=1e-5)
    assert records[0].held_out == pytest.approx(record.held_out, rel=1e-5)


def test_a_rate_follows_its_schedule() -> None:
    options = image_options()
    learned = new_learned(options)
    rates = []
    for _ in image_trainer(learned, options, 200).run():
        rates.append(learned.named["images"].optimiser.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(1e-3, rel=0.01)
    assert max(rates) == rates[9]
    assert rates[-1] < 0.1 * max(rates)


def test_a_loss_that_is_not_finite_ends_it() -> None:
    options = image_options(gradient_clip=None, learning_rate=1.0, schedule="constant")
    learned = new_learned(options)
    with torch.no_grad():
        next(learned.named["images"].network.parameters()).fill_(float("inf"))
    with pytest.raises(ValueError, match="the loss is nan at step 1 of 2"):
        list(image_trainer(learned, options, 2).run())


def test_a_task_of_other_networks_is_refused() -> None:
    options = image_options()
    task = ImageTask(new_learned(options), options)
    with pytest.raises(ValueError, match="not of those that are to be trained"):
        Trainer(task, new_learned(options), options, steps=1, seed=0, record=TrainingRecord())


@pytest.mark.gpu
def test_captured_steps_do_what_steps_do() -> None:
    """On a GPU the steps of this task are replayed as one CUDA graph."""

    class Eager(ImageTask):
        fixed_shapes = False

    options = image_options(acc_batches=2)
    results = []
    for kind in (ImageTask, Eager):
        learned = new_learned(options, device="cuda")
        list(Trainer(kind(learned, options), learned, options, steps=10, seed=3, record=TrainingRecord()).run())
        results.append(learned.tensors())
    assert all(torch.allclose(results[0][n].float(), v.float(), rtol=1e-3, atol=1e-4) for n, v in results[1].items())
