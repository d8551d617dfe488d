"""Mean and spread of maps: what the whole stack says, without the stack."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from cryobridge.core.correction.ensemble import mean_and_spread


def _maps(count: int, level: float = 0.0, n: int = 6) -> list[Tensor]:
    generator = torch.Generator().manual_seed(count)
    return [level + torch.randn(n, n, n, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("count", [2, 3, 7])
def test_it_is_the_mean_and_deviation_of_the_stack(count: int) -> None:
    stack = torch.stack(_maps(count)).double()
    mean, spread = mean_and_spread(_maps(count))
    assert torch.allclose(mean.double(), stack.mean(dim=0), atol=1e-6)
    assert torch.allclose(spread.double(), stack.std(dim=0), atol=1e-6)
    assert mean.dtype == spread.dtype == torch.float32


def test_a_large_level_does_not_cost_the_spread_its_digits() -> None:
    maps = _maps(5, level=1e4)
    _, spread = mean_and_spread(maps)
    assert torch.allclose(spread, torch.stack(maps).double().std(dim=0).float(), rtol=1e-5)


def test_equal_maps_have_no_spread() -> None:
    volume = _maps(1)[0]
    mean, spread = mean_and_spread([volume, volume, volume])
    assert torch.equal(mean, volume)
    assert float(spread.abs().max()) == 0


def test_the_spread_of_noise_is_its_deviation() -> None:
    generator = torch.Generator().manual_seed(0)
    maps = (3 * torch.randn(16, 16, 16, generator=generator) for _ in range(40))
    _, spread = mean_and_spread(maps)
    assert float(spread.square().mean().sqrt()) == pytest.approx(3, rel=0.01)


def test_maps_are_neither_held_nor_changed() -> None:
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def counted() -> Iterator[Tensor]:
        nonlocal most
        for volume in (torch.full((4, 4, 4), float(index)) for index in range(6)):
            alive.append(weakref.ref(volume))
            gc.collect()
            most = max(most, sum(reference() is not None for reference in alive))
            yield volume
            assert torch.equal(volume, torch.full((4, 4, 4), float(len(alive) - 1)))

    mean, _ = mean_and_spread(counted())
    assert float(mean[0, 0, 0]) == 2.5
    # The one that comes and the one that the loop still names.
    assert most <= 2


@pytest.mark.parametrize(
    ("maps", "said"),
    [
        ([], "got 0"),
        ([torch.zeros(2, 2, 2)], "got 1"),
        ([torch.zeros(2, 2, 2), torch.zeros(3, 3, 3)], r"differ in shape: \(2, 2, 2\) and \(3, 3, 3\)"),
    ],
)
def test_what_has_no_spread_is_refused(maps: list[Tensor], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        mean_and_spread(maps)
