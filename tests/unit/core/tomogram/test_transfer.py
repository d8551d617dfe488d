"""A CTF in the training: phases the right way round, answers as if it had not been; nothing changes without one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.wedge_tables import DEEP, GREY, OPTICS, seen_halves, specimen
from torch import Tensor

from cryobridge.core.tomogram import (
    NAME,
    ContrastTransfer,
    DeconvolutionFilter,
    SignalEvidence,
    TomogramBlock,
    Wedge,
    WedgeTask,
    agreement_of,
    block_of,
    corrected,
    ctf_curve,
    filtered,
    held_out_score,
    new_network,
    radius,
    wiener,
)
from cryobridge.core.training import Learned, Trainer, TrainingRecord, initialised_from
from cryobridge.schemas.wedge import WedgeOptions

SIDE = 32
STRONG = ContrastTransfer(replace(OPTICS, defocus_A=60_000.0))
"""Zeros at 0.23, 0.33 and 0.40 cycles per voxel."""
FLAT = ContrastTransfer(DeconvolutionFilter(8.0, 0.0, 300.0, 0.0, 1.0))
"""Of a perfect amplitude object in focus: 1 everywhere."""
OPTIONS = WedgeOptions(base_width=2, cube_size=16, batch=2, refill=10, learning_rate=4e-3, free_rotations=0.2, ema=0.9)


def of_halves(even: Tensor, odd: Tensor, transfer: ContrastTransfer | None) -> tuple[TomogramBlock, SignalEvidence]:
    agreement = agreement_of([(even, odd)], Wedge.of_range())
    unscaled = SignalEvidence(agreement, 1, GREY, 1.0)
    evidence = replace(unscaled, scale=float((wiener(even, odd, unscaled) - GREY).std()))
    return block_of(even, odd, Wedge.of_range(), evidence, 0, transfer), evidence


def learned_from(block: TomogramBlock, seed: int, steps: int) -> Learned:
    options = OPTIONS.model_copy(update={"seed": seed})
    with initialised_from(seed):
        learned = Learned({NAME: new_network(options)}, options, torch.device("cpu"))
    task = WedgeTask(learned, [block], options, seed)
    for _ in Trainer(task, learned, options, steps=steps, seed=seed, record=TrainingRecord()).run():
        pass
    return learned


def recovered(seed: int, halves: tuple[Tensor, Tensor], transfer: ContrastTransfer | None, steps: int = 50) -> float:
    """The share of the truth near the zeros, where something was measured, that the corrected spectrum has right."""
    block, evidence = of_halves(*halves, transfer)
    learned = learned_from(block, seed, steps)
    with torch.no_grad(), learned.named[NAME].averaged(OPTIONS) as network:
        found = corrected(network, block, evidence).spectrum
    truth = torch.fft.rfftn(specimen(seed, SIDE) * DEEP / evidence.scale)
    distance = radius(block.shape)
    near = (STRONG.magnitude(block.shape) < 0.5) & (distance < 0.42) & (distance > 0.05)
    wrong, there = ((one.abs().square() * near * block.weight).sum() for one in (found - truth, truth))
    return 1 - float(wrong / there)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_network_that_knows_the_ctf_recovers_more_near_its_zeros(seed: int) -> None:
    raw = seen_halves(specimen(seed, SIDE), 0.1, seed, transfer=STRONG)
    flipped = (STRONG.flipped(raw[0]), STRONG.flipped(raw[1]))
    none, phases, network = (
        recovered(seed, halves, transfer) for halves, transfer in ((raw, None), (flipped, None), (flipped, STRONG))
    )
    assert network > phases + 0.05
    assert phases > none + 0.2


@pytest.mark.slow
def test_without_a_ctf_it_changes_nothing() -> None:
    halves = seen_halves(specimen(1, SIDE), 0.1)
    assert torch.allclose(FLAT.flipped(halves[0]), halves[0], atol=1e-3)
    without, flat = (recovered(1, halves, transfer, steps=15) for transfer in (None, FLAT))
    assert flat == pytest.approx(without, abs=1e-3)


def test_flipped_data_are_the_specimen_times_the_absolute_value() -> None:
    truth = specimen(4, SIDE)
    curve = ctf_curve(STRONG.optics, 2 * radius(truth.shape)).float()
    found = STRONG.flipped(filtered(truth, curve))
    assert torch.allclose(found, filtered(truth, curve.abs()), atol=1e-5)


def test_below_the_first_peak_nothing_is_weaker_than_there() -> None:
    whole, clipped = (replace(STRONG, clips_first_peak=one).magnitude((48, 40, 44)) for one in (False, True))
    distance, peak = 2 * radius((48, 40, 44)), STRONG.first_peak()
    assert torch.equal(whole[distance > peak], clipped[distance > peak])
    assert float(clipped[distance <= peak].min()) == pytest.approx(1.0, abs=1e-3)
    assert float(whole[0, 0, 0]) == pytest.approx(0.1, abs=1e-6)


def test_contrast_that_grows_to_nyquist_has_its_peak_there() -> None:
    assert ContrastTransfer(replace(OPTICS, defocus_A=2_000.0)).first_peak() == 1.0


def test_a_reduced_volume_has_the_values_of_the_same_frequencies() -> None:
    large, small = STRONG.magnitude((64, 64, 64)), STRONG.reduced(2).magnitude((32, 32, 32))
    assert torch.allclose(large[:15, :15, :15], small[:15, :15, :15], atol=1e-6)


def test_the_held_out_wedge_is_compared_as_the_data_are() -> None:
    """A network that answers with the specimen itself is right though the data are weaker."""
    truth = torch.maximum(specimen(5, SIDE), specimen(5, SIDE).flip(0, 2))
    even, odd = (STRONG.flipped(one) for one in seen_halves(truth, 0.1, transfer=STRONG))
    block, evidence = of_halves(even, odd, STRONG)
    dense = truth * DEEP / evidence.scale

    def knows(volumes: Tensor) -> Tensor:
        answer = dense[None, None].expand_as(volumes)
        return torch.cat((answer, answer), dim=1)

    found = held_out_score(knows, [block], evidence)
    assert found.score is not None
    assert found.score > 0.9
    assert found.power_ratio == pytest.approx(1, abs=0.15)
