"""Several networks as one: the mean of what they answer, and how far they differ where nothing was measured."""

from __future__ import annotations

import math

import pytest
import torch

from cryobridge.core.tomogram import (
    Answer,
    Curve,
    SignalEvidence,
    TomogramBlock,
    Wedge,
    block_of,
    filled_spread,
    filtered,
    mean_answer,
    wedge_weight,
)

SHAPE = (24, 32, 32)
EVIDENCE = SignalEvidence(Curve(torch.ones(32)), 1, 0.0, 1.0)


def made_up(seed: int) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def block() -> TomogramBlock:
    return block_of(made_up(1), made_up(2), Wedge(), EVIDENCE)


def filling(fill: torch.Tensor, measured: float = 1.0) -> Answer:
    """A network that fills in the same whatever it is shown."""
    return lambda shown: torch.stack((measured * shown[:, 0], fill.expand_as(shown[:, 0])), dim=1)


def test_the_mean_is_the_mean_of_all_answers() -> None:
    weights = (1.0, 2.5, -4.0)
    networks = [lambda shown, by=by: torch.cat((by * shown, by * by * shown), dim=1) for by in weights]
    shown = made_up(3)[None, None]
    found = mean_answer(networks)(shown)
    torch.testing.assert_close(found[:, :1], shown * sum(weights) / 3)
    torch.testing.assert_close(found[:, 1:], shown * sum(by * by for by in weights) / 3)
    assert mean_answer(networks[:1]) is networks[0]


def test_two_networks_of_one_to_three_differ_by_the_root_of_a_half(block: TomogramBlock) -> None:
    networks = [filling(made_up(4)), filling(3 * made_up(4))]
    assert filled_spread(networks, [block], EVIDENCE) == pytest.approx(math.sqrt(0.5), rel=1e-4)


@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_independent_differences_are_as_large_as_they_are(block: TomogramBlock, noise: float) -> None:
    """Of many networks that have one thing in common, each with noise of its own."""
    networks = [filling(made_up(5) + noise * made_up(100 + number)) for number in range(8)]
    # The mean of eight holds an eighth of the noise's power besides.
    expected = noise / math.sqrt(1 + noise * noise / 8)
    assert filled_spread(networks, [block], EVIDENCE) == pytest.approx(expected, rel=0.05)


def test_what_was_measured_does_not_count(block: TomogramBlock) -> None:
    inside = filtered(made_up(6), wedge_weight(Wedge(), SHAPE))
    alike = [filling(made_up(5), measured=1.0), filling(made_up(5) + 10 * inside, measured=7.0)]
    assert filled_spread(alike, [block], EVIDENCE) < 0.05
    outside = made_up(6) - inside
    assert filled_spread([alike[0], filling(made_up(5) + 10 * outside)], [block], EVIDENCE) > 1


def test_one_network_cannot_differ(block: TomogramBlock) -> None:
    with pytest.raises(ValueError, match="takes two"):
        filled_spread([filling(made_up(4))], [block], EVIDENCE)
