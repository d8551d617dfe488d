"""Tiles: seams that cannot be seen, work only where the mask is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cryobridge.core.volume.tiling import tile_starts, tiled


def _last(volume: Tensor, where: Tensor | None, tile: int, network: object = None) -> Tensor:
    run = network if callable(network) else (lambda volumes: volumes)
    *_, result = tiled(run, volume, where, tile, 3)
    assert result is not None
    return result


@pytest.mark.parametrize("n", [24, 30, 33, 48, 65])
@pytest.mark.parametrize("tile", [32, 40, 48])
def test_an_identity_network_returns_the_map(n: int, tile: int) -> None:
    volume = torch.randn(n, n, n, generator=torch.Generator().manual_seed(n))
    assert float((_last(volume, None, tile) - volume).abs().max()) < 2e-6


def test_published_tiling_of_128_and_256() -> None:
    assert len(tile_starts(96, 80)) ** 3 == 8
    assert len(tile_starts(128, 80)) ** 3 == 27
    assert len(tile_starts(256, 80)) ** 3 == 125


def test_only_tiles_that_touch_the_mask_are_computed_and_the_rest_stays() -> None:
    volume = torch.randn(64, 64, 64, generator=torch.Generator().manual_seed(1))
    where = torch.zeros(64, 64, 64, dtype=torch.bool)
    where[10:14, 10:14, 10:14] = True
    computed = 0

    def negated(volumes: Tensor) -> Tensor:
        nonlocal computed
        computed += len(volumes)
        return -volumes

    result = _last(volume, where, 32, negated)
    assert 0 < computed < len(tile_starts(64, 32)) ** 3
    assert torch.allclose(result[where], -volume[where], atol=2e-6)
    assert torch.equal(result[~where], volume[~where])


def test_an_empty_mask_computes_nothing() -> None:
    volume = torch.randn(40, 40, 40)
    empty = torch.zeros(40, 40, 40, dtype=torch.bool)

    def refuse(volumes: Tensor) -> Tensor:
        raise AssertionError("a tile was computed")

    assert torch.equal(_last(volume, empty, 32, refuse), volume)


def test_the_caller_can_stop_between_batches() -> None:
    steps = tiled(lambda volumes: volumes, torch.zeros(64, 64, 64), None, 32, 5)
    assert next(steps) is None
    steps.close()


def test_a_tile_without_room_for_its_ramps_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        tile_starts(64, 24)
