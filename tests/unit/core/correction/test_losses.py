"""The losses: the published form against its formula in plain numpy, ours against its own properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cryobridge.core.correction import losses
from cryobridge.core.correction.losses import ImprovedTerms, filtered
from cryobridge.core.fourier.transforms import radius
from cryobridge.core.volume.rotations import random_matrices, spherical_window, turn

SIDE = 8


def improved_loss(*arguments: Any, **named: Any) -> Tensor:
    """The sum of our loss's terms."""
    return torch.stack(list(losses.improved_loss(*arguments, **named).values())).sum()


def published_loss(*arguments: Any, **named: Any) -> Tensor:
    """The sum of the published loss's terms."""
    return torch.stack(list(losses.published_loss(*arguments, **named).values())).sum()


@pytest.fixture
def crops() -> tuple[Tensor, Tensor, Tensor]:
    """Two crops of two samples, and a weight."""
    generator = torch.Generator().manual_seed(5)
    first, second = torch.randn(2, 2, 1, SIDE, SIDE, SIDE, generator=generator)
    return first, second, (radius(SIDE) / SIDE < 0.4).float() * 0.7


def _scaled(volumes: Tensor) -> Tensor:
    return 0.5 * volumes + 0.1 * volumes.roll(1, -1)


def _numpy_filter(volume: np.ndarray, weight: Tensor) -> np.ndarray:
    return np.fft.irfftn(np.fft.rfftn(volume, axes=(-3, -2, -1)) * weight.numpy(), s=(SIDE,) * 3, axes=(-3, -2, -1))


def test_filter_agrees_with_numpy(crops: tuple[Tensor, Tensor, Tensor]) -> None:
    first, _, weight = crops
    assert np.allclose(filtered(first, weight).numpy(), _numpy_filter(first.numpy(), weight), atol=1e-5)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.5), (0.3, 0.0), (0.0, 1.0)])
def test_published_loss_is_its_formula(crops: tuple[Tensor, Tensor, Tensor], alpha: float, beta: float) -> None:
    first, second, weight = crops
    turns = [3, 20]

    def rotated(volumes: Tensor) -> Tensor:
        return torch.stack([turn(v, i) for v, i in zip(volumes, turns, strict=True)])

    def l1(a: np.ndarray, b: Tensor) -> float:
        return float(np.abs(a - b.numpy()).mean())

    y1, y2 = _scaled(first), _scaled(second)
    z = _scaled(torch.from_numpy(_numpy_filter(rotated(y1).numpy(), weight))).numpy()
    measured = _numpy_filter(y1.numpy(), weight)
    expected = l1(measured, first) + alpha * l1(z, rotated(y1))
    expected += beta * (l1(measured, second) + alpha * l1(z, rotated(y2)))
    loss = published_loss(_scaled, first, second, weight, turns, alpha=alpha, beta=beta)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_published_passes_run_over_both_halves_before_the_rotated_crops(crops: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second, weight = crops
    seen = list[Tensor]()

    def network(volumes: Tensor) -> Tensor:
        seen.append(volumes)
        return volumes

    published_loss(network, first, second, weight, [3, 20])
    assert torch.equal(seen[0], first)
    assert torch.equal(seen[1], second)
    assert len(seen) == 3


def test_published_loss_of_one_half_has_no_cross_terms(crops: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second, weight = crops
    alone = published_loss(_scaled, first, None, weight, [1, 2])
    assert float(alone) == pytest.approx(float(published_loss(_scaled, first, second, weight, [1, 2], beta=0)))


def test_our_loss_does_not_see_what_the_weight_hides(crops: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second, weight = crops
    hidden = filtered(torch.randn_like(first), (weight == 0).float())
    terms = ImprovedTerms(alpha=0, margin=0)
    loss = improved_loss(_scaled, first, second, weight, [1, 2], terms)
    changed = improved_loss(_scaled, first, second + 5 * hidden, weight, [1, 2], terms)
    assert float(changed) == pytest.approx(float(loss), rel=1e-4)


def test_our_loss_is_zero_for_a_perfect_network_of_a_cubic_map(crops: tuple[Tensor, Tensor, Tensor]) -> None:
    _, _, weight = crops
    ball = torch.exp(-((radius(SIDE)[:, :, : SIDE // 2]) ** 2))
    ball = torch.cat((ball.flip(2), ball), dim=2).roll((4, 4), (0, 1))[None, None]
    symmetric = torch.stack([turn(ball[0], index) for index in range(24)]).mean(dim=0, keepdim=True)
    loss = improved_loss(lambda _: symmetric, symmetric, symmetric, weight, [7], ImprovedTerms(margin=0))
    assert float(loss) < 1e-6


def test_rotated_targets_carry_no_gradient(crops: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second, weight = crops
    gain = torch.ones((), requires_grad=True)
    calls: list[Tensor] = []

    def network(volumes: Tensor) -> Tensor:
        calls.append(volumes)
        return gain * volumes

    improved_loss(network, first, second, weight, [1, 2], ImprovedTerms(anchor=0)).backward()  # type: ignore[no-untyped-call]
    assert gain.grad is not None
    assert len(calls) == 2
    assert not calls[1].requires_grad


def test_free_rotations_are_scored_inside_the_window(crops: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second, weight = crops
    matrices = random_matrices(2, torch.Generator().manual_seed(1))
    window = spherical_window(SIDE, torch.device("cpu"), edge=2)
    terms = ImprovedTerms(margin=0)
    loss = improved_loss(_scaled, first, second, weight, [1, 2], terms, matrices=matrices, window=window)
    nothing = improved_loss(_scaled, first, second, weight, [1, 2], terms, matrices=matrices, window=0 * window)
    assert float(nothing) < float(loss)
    assert float(nothing) == pytest.approx(float(filtered(_scaled(first) - second, weight).abs().mean()), rel=1e-5)


def test_noise_reaches_the_rotated_input_only(crops: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second, weight = crops
    calls: list[Tensor] = []

    def network(volumes: Tensor) -> Tensor:
        calls.append(volumes)
        return volumes

    noise = torch.full_like(first, 3.0)
    improved_loss(network, first, second, weight, [0, 0], ImprovedTerms(), noise=noise)
    assert torch.equal(calls[0], first)
    assert torch.allclose(calls[1], filtered(first, weight) + 3.0, atol=1e-5)
