"""Learning the wedge: a training left off and gone on with ends the same, and what is hidden is learned."""

from __future__ import annotations

import math

import pytest
import torch

from cryobridge.core.tomogram import (
    NAME,
    ScenePractice,
    SignalEvidence,
    Wedge,
    WedgeTask,
    agreement_of,
    block_of,
    corrected,
    edge_ramp,
    filtered,
    held_out_score,
    new_network,
    reduction,
    rejoined,
    wedge_losses,
    wedge_weight,
    wiener,
)
from cryobridge.core.training import Learned, Trainer, TrainingRecord, initialised_from
from cryobridge.schemas.wedge import WedgeOptions

WEDGE = Wedge.of_range()
OPTIONS = WedgeOptions(base_width=2, cube_size=16, batch=2, refill=4)


def halves(noise: float = 0.5, side: int = 32, turned: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Balls, dark on grey, whole and as two halves of a tomogram; the same when turned about y, if asked for."""
    generator = torch.Generator().manual_seed(1)
    axis = torch.arange(side, dtype=torch.float32)
    truth = torch.zeros(side, side, side)
    for _ in range(20):
        z, y, x = torch.rand(3, generator=generator) * side
        lines = [torch.exp(-0.5 * ((axis - c) / 1.6).square()) for c in (z, y, x)]
        truth = torch.maximum(truth, torch.einsum("z,y,x->zyx", *lines))
    if turned:
        truth = torch.maximum(truth, truth.flip(0, 2))
    truth = 100 - 10 * truth / truth.std()
    weight = wedge_weight(WEDGE, truth.shape)
    shape = truth.shape
    even, odd = (
        100 + filtered(truth - 100 + 10 * noise * torch.randn(shape, generator=generator), weight) for _ in range(2)
    )
    return truth, even, odd


def prepared(even: torch.Tensor, odd: torch.Tensor) -> SignalEvidence:
    agreement = agreement_of([(even, odd)], WEDGE)
    return SignalEvidence(agreement, reduction(agreement, 1), 100.0, 10.0)


def trained(options: WedgeOptions, steps: int, stop_at: int | None = None) -> dict[str, torch.Tensor]:
    _, even, odd = halves()
    block = block_of(even, odd, WEDGE, prepared(even, odd))
    record, stored = TrainingRecord(), None
    for until in (stop_at, None):
        with initialised_from(0):
            learned = Learned({NAME: new_network(options)}, options, torch.device("cpu"))
        if stored is not None:
            learned.load_tensors(stored)
        task = WedgeTask(learned, [block], options, 0, ScenePractice(0, 2, 16) if options.batch > 2 else None)
        for report in Trainer(task, learned, options, steps=steps, seed=0, record=record).run():
            if report.step == until:
                assert task.renews_at(report.step)
                break
        stored = learned.tensors()
    return stored or {}


@pytest.mark.slow
@pytest.mark.parametrize("batch", [2, 4])
def test_a_training_left_off_where_it_fills_anew_ends_as_one_that_was_not(batch: int) -> None:
    options = OPTIONS.model_copy(update={"batch": batch})
    whole, parts = trained(options, 50), trained(options, 50, stop_at=44)
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())


def test_the_loss_is_the_sum_of_weighted_squares_in_fourier_space() -> None:
    generator = torch.Generator().manual_seed(4)
    seen, target = torch.randn(2, 1, 1, 16, 16, 16, generator=generator)
    weight = wedge_weight(WEDGE, (16, 16, 16))
    batch = {"seen": seen, "target": target, "kept": weight[None, None], "hidden": (1 - weight)[None, None]}
    ramp = edge_ramp(16)

    def network(volumes: torch.Tensor) -> torch.Tensor:
        return torch.cat((volumes, 0 * volumes), dim=1)

    found = wedge_losses(network, batch, ramp, OPTIONS)
    full = torch.fft.fftn(((target - seen) * ramp)[0, 0], norm="ortho").abs().square()
    impulse = torch.zeros(16, 16, 16)
    impulse[0, 0, 0] = 1
    whole_weight = torch.fft.fftn(filtered(impulse, weight)).real
    assert float(found["measured"]) == pytest.approx(float((full * whole_weight).mean()), rel=1e-3)
    asked = torch.fft.fftn((target * ramp)[0, 0], norm="ortho").abs().square()
    expected = OPTIONS.wedge_weight * float((asked * (1 - whole_weight)).mean())
    assert float(found["wedge"]) == pytest.approx(expected, rel=1e-3)


def test_an_untrained_network_gives_back_the_data_and_fills_nothing() -> None:
    _, even, odd = halves()
    evidence = prepared(even, odd)
    block = block_of(even, odd, WEDGE, evidence)
    with initialised_from(0):
        network = new_network(OPTIONS).eval()
    found = corrected(network, block, evidence)
    result = rejoined(found, even, odd, block, evidence)
    inside = wedge_weight(WEDGE, result.shape)
    assert float(filtered(result - 100, (inside == 0).float()).abs().max()) < 1e-3
    expected = wiener(even, odd, evidence)
    # What the filter took away and halves agree on may be put back.
    assert float((result - expected).std()) < 0.3 * float((expected - 100).std())
    assert math.isclose(float(result.mean()), 100, abs_tol=0.5)


def test_halves_of_noise_agree_in_nothing() -> None:
    generator = torch.Generator().manual_seed(3)
    pair = torch.randn(2, 48, 48, 48, generator=generator)
    agreement = agreement_of([(pair[0], pair[1])], WEDGE)
    assert float(agreement.values[4:].max()) < 0.15
    assert reduction(agreement) == 4


def test_a_held_out_sector_tells_a_network_that_knows_the_truth_from_one_that_fills_nothing() -> None:
    truth, even, odd = halves(noise=0.3, turned=True)
    evidence = prepared(even, odd)
    block = block_of(even, odd, WEDGE, evidence)
    dense = (100 - truth) / 10

    def knows(volumes: torch.Tensor) -> torch.Tensor:
        answer = dense[None, None].expand_as(volumes)
        return torch.cat((answer, answer), dim=1)

    def nothing(volumes: torch.Tensor) -> torch.Tensor:
        return torch.cat((volumes, 0 * volumes), dim=1)

    best, worst = (held_out_score(one, [block], evidence) for one in (knows, nothing))
    assert best.score is not None
    assert best.score > 0.9
    assert best.power_ratio == pytest.approx(1, abs=0.15)
    assert worst.score == pytest.approx(0, abs=1e-3)
