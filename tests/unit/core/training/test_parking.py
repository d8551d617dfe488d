"""A parked training leaves nothing on its device, and ends as if it had never been parked."""

from __future__ import annotations

import pytest
import torch
from support.device_budget import DeviceBudget
from support.image_task import image_options, image_trainer, new_learned

from cryobridge.core.training import Parking


def test_a_parked_training_holds_no_byte_and_ends_with_equal_weights() -> None:
    options = image_options()
    straight = new_learned(options)
    list(image_trainer(straight, options, 6).run())

    learned = new_learned(options)
    trainer = image_trainer(learned, options, 6)
    weights = sum(p.numel() for p in learned.named["images"].network.parameters())
    device = DeviceBudget(10**6)
    parking = Parking(device)
    with parking.holding(trainer.held):
        for report in trainer.run():
            device.take(trainer.held())
            # Weights, averages and both moments.
            assert device.used_bytes == 4 * 4 * weights
            parking.park()
            assert device.used_bytes == 0
            assert all(bool(torch.isnan(p).all()) for p in learned.named["images"].network.parameters())
            parking.unpark()
            assert device.used_bytes == 4 * 4 * weights, report
    ends = straight.tensors()
    assert all(torch.equal(ends[name], value) for name, value in learned.tensors().items())


def test_what_does_not_fit_back_stays_parked_until_it_does() -> None:
    tensors = [torch.full((100,), float(number)) for number in range(4)]
    device = DeviceBudget(1600)
    device.take(tensors)
    parking = Parking(device)
    with parking.holding(lambda: tensors):
        parking.park()
        device.budget_bytes = 1000
        with pytest.raises(torch.OutOfMemoryError):
            parking.unpark()
        assert device.used_bytes == 0
        device.budget_bytes = 1600
        parking.unpark()
    assert device.used_bytes == 1600
    assert [float(tensor.mean()) for tensor in tensors] == [0, 1, 2, 3]


def test_what_is_parked_last_comes_back_first_and_nothing_is_moved_twice() -> None:
    first, second = torch.ones(10), torch.full((10,), 2.0)
    device = DeviceBudget(100)
    device.take([first, second])
    parking = Parking(device)
    with parking.holding(lambda: [first]):
        parking.park()
        with parking.holding(lambda: [second, second]):
            parking.park()
            assert device.used_bytes == 0
            parking.unpark()
            assert device.used_bytes == 40
        parking.unpark()
    assert device.used_bytes == 80
    assert (float(first.sum()), float(second.sum())) == (10, 20)


def test_what_is_no_longer_held_is_not_parked() -> None:
    tensor = torch.ones(10)
    device = DeviceBudget(100)
    device.take([tensor])
    parking = Parking(device)
    with parking.holding(lambda: [tensor]):
        pass
    parking.park()
    assert device.used_bytes == 40


def test_what_is_given_up_stays_on_the_host() -> None:
    tensor = torch.ones(10)
    device = DeviceBudget(100)
    device.take([tensor])
    parking = Parking(device)
    with parking.holding(lambda: [tensor]):
        parking.park()
    parking.abandon()
    assert device.used_bytes == 0
    with pytest.raises(IndexError):
        parking.unpark()
