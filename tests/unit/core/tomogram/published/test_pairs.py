"""Pairs are what the published method says: filled, turned, wedged again, cut down; noise by the data's deviation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from cryobridge.core.tomogram import Wedge, published
from cryobridge.core.training import Learned, Trainer, TrainingRecord
from cryobridge.schemas.training import TrainingOptions

CROP, CUBE = 20, 16


def subtomograms(count: int = 2) -> Tensor:
    found = torch.randn((count, CROP, CROP, CROP), generator=torch.Generator().manual_seed(1))
    return 5 * found + torch.arange(count).view(-1, 1, 1, 1)


def material(wedge: Wedge | None = None) -> published.WedgedSubtomograms:
    return published.WedgedSubtomograms(subtomograms(), [wedge or Wedge()] * 2, CUBE, by_percentile=True)


def in_numpy(volume: Tensor, missing: bool = False) -> np.ndarray:
    """A volume by sections across the tilt axis: the documented filter, with complex transforms and shifts."""
    side = volume.shape[-1]
    axis = np.arange(side) - side // 2
    z, x = np.meshgrid(axis, axis, indexing="ij")
    kept = (np.abs(np.rad2deg(np.arctan2(np.abs(z), np.abs(x)))) <= 60) & (np.hypot(z, x) <= side / 2)
    kept |= (z == 0) & (np.abs(x) <= side // 2)
    found = np.empty(volume.shape)
    for row in range(side):
        spectrum = np.fft.fftshift(np.fft.fft2(volume[:, row].numpy()))
        found[:, row] = np.fft.ifft2(np.fft.ifftshift(spectrum * (~kept if missing else kept))).real
    return found


def as_percentiles(volume: np.ndarray) -> np.ndarray:
    low, high = np.percentile(volume, [4, 96])
    return (volume - low) / (high - low)


def test_a_measured_volume_is_filtered_as_documented() -> None:
    volume = subtomograms()[0]
    weight = published.measured_weight(Wedge(), CROP)
    found = torch.fft.irfftn(torch.fft.rfftn(volume) * weight, s=volume.shape).numpy()
    np.testing.assert_allclose(found, in_numpy(volume), atol=1e-4)
    again = torch.fft.irfftn(torch.fft.rfftn(torch.from_numpy(found)) * weight, s=volume.shape).numpy()
    np.testing.assert_allclose(again, found, atol=1e-4)


def test_at_first_the_wedge_is_filled_from_the_filtered_subtomogram() -> None:
    measured = as_percentiles(subtomograms()[1].numpy())
    estimate = as_percentiles(in_numpy(torch.from_numpy(measured)))
    whole = in_numpy(torch.from_numpy(measured)) + in_numpy(torch.from_numpy(estimate), missing=True)
    np.testing.assert_allclose(material().filled[1].numpy(), as_percentiles(whole), atol=1e-4)


def test_a_pair_is_filled_turned_wedged_and_cut() -> None:
    made = material()
    estimates = torch.randn((2, CROP, CROP, CROP), generator=torch.Generator().manual_seed(3))
    for members in made.parts(1):
        made.fill(members, estimates[members])
    places = [made.places()[3], made.places()[27]]
    shown, targets = made.pairs(places)
    for index, place in enumerate(places):
        number = place.subtomogram
        measured = torch.from_numpy(as_percentiles(subtomograms()[number].numpy()))
        whole = as_percentiles(in_numpy(measured) + in_numpy(estimates[number], missing=True))
        target = place.orientation.apply(torch.from_numpy(whole))
        cut = slice(2, 18)
        np.testing.assert_allclose(targets[index], target[cut, cut, cut], atol=1e-4)
        np.testing.assert_allclose(shown[index], in_numpy(target)[cut, cut, cut], atol=1e-4)


@pytest.mark.parametrize(("wedge", "count"), [(Wedge(), 20), (Wedge.of_range(-40, 60), 22)])
def test_there_is_a_pair_for_every_rotation_that_moves_the_wedge(wedge: Wedge, count: int) -> None:
    places = material(wedge).places()
    assert len(set(places)) == len(places) == 2 * count


@pytest.mark.parametrize("level", [0.1, 0.2])
def test_noise_is_a_part_of_the_datas_deviation(level: float) -> None:
    """Acceptance 6: a level of 0.1 adds noise of a tenth of the data's deviation, whatever the scale of the data."""
    made = material()
    weight = published.noise_weight("noFilter", Wedge(), (CUBE,) * 3)
    tasks = [task(made, noise) for noise in (None, published.NoiseOfIteration(level, weight))]
    clean, noisy = (one.batch(1, 0) for one in tasks)
    torch.testing.assert_close(clean["target"], noisy["target"])
    added = (noisy["shown"] - clean["shown"]).std(dim=(1, 2, 3, 4), correction=0)
    data = torch.from_numpy(as_percentiles(subtomograms()[0].numpy())).std()
    torch.testing.assert_close(added, torch.full_like(added, level * float(data)), rtol=0.05, atol=0)


def learned() -> Learned:
    torch.manual_seed(5)
    network = published.IsoNetUNet(published.IsoNetShape(filter_base=2, unet_depth=1, convs_per_depth=2))
    return Learned({published.NETWORK: network}, OPTIONS, torch.device("cpu"))


OPTIONS = TrainingOptions(batch=4, schedule="constant", weight_decay=0, gradient_clip=None, ema=0, learning_rate=4e-4)


def task(
    made: published.WedgedSubtomograms,
    noise: published.NoiseOfIteration | None = None,
    kept_out: int = 4,
    of: Learned | None = None,
) -> published.IsoNetTask:
    return published.IsoNetTask(of or learned(), made, noise, batch=4, kept_out=kept_out, seed=0)


def test_every_pair_comes_once_before_one_comes_twice() -> None:
    made = material()
    found = task(made, kept_out=0)
    seen = torch.cat([found.batch(7, step)["target"] for step in range(10)])
    assert len({one.numpy().tobytes() for one in seen}) == 40


def test_pairs_that_are_kept_out_are_in_no_batch() -> None:
    found = task(material())
    kept = {one.numpy().tobytes() for one in (found.held_out() or {})["target"]}
    shown = {one.numpy().tobytes() for step in range(9) for one in found.batch(7, step)["target"]}
    assert len(kept) == 4
    assert len(shown) == 36
    assert not kept & shown


def test_a_batch_follows_from_seed_and_step_alone() -> None:
    noise = published.NoiseOfIteration(0.1, published.noise_weight("ramp", Wedge(), (CUBE,) * 3))
    first, second = (task(material(), noise) for _ in range(2))
    first.batch(1, 0)
    for key, value in first.batch(1, 3).items():
        assert torch.equal(value, second.batch(1, 3)[key])


def test_a_training_that_is_broken_off_goes_on_as_if_it_was_not() -> None:
    """Drop-out too, which torch would draw from wherever its stream is."""
    made, ends = material(), []
    for stop in (None, 3):
        state, record = learned(), TrainingRecord()
        for report in trainer(made, state, record).run():
            if report.step == stop:
                break
        if stop is not None:
            torch.rand(7)
            stored, state = state.tensors(), learned()
            state.load_tensors(stored)
            list(trainer(made, state, record).run())
        ends.append(state.tensors())
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def trainer(made: published.WedgedSubtomograms, state: Learned, record: TrainingRecord) -> Trainer:
    return Trainer(task(made, of=state), state, OPTIONS, steps=5, seed=1, record=record)


def test_what_cannot_be_learned_from_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        published.WedgedSubtomograms(subtomograms(), [Wedge()] * 2, 24, by_percentile=True)
    with pytest.raises(ValueError, match="1 wedges"):
        published.WedgedSubtomograms(subtomograms(), [Wedge()], 16, by_percentile=True)
    with pytest.raises(ValueError, match="nothing to learn"):
        task(material(), kept_out=40)
