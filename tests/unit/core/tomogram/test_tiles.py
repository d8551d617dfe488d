"""Tiles: what comes out is what goes in, whatever the sizes; what cannot be put together is refused."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from cryobridge.core.tomogram import Box, Tiles, tiled_slabs, usual_overlap


def same(windows: Tensor) -> Tensor:
    return windows


def whole(tiles: Tiles, volume: Tensor, network=same, batch: int = 3) -> Tensor:
    """All slabs, put together."""
    found = torch.full(volume.shape, math.nan)

    def read(box: Box) -> Tensor:
        return volume[box]

    for slab in tiled_slabs(tiles, read, network, batch):
        if slab is not None:
            assert torch.isnan(found[slab.box]).all()
            found[slab.box] = slab.values
    return found


def smoothed(windows: Tensor) -> Tensor:
    """Sees one voxel to every side."""
    kernel = torch.rand((1, 1, 3, 3, 3), generator=torch.Generator().manual_seed(4))
    return functional.conv3d(windows, kernel / kernel.sum(), padding=1)


def on_a_grid(windows: Tensor) -> Tensor:
    """Treats odd and even voxels differently, as a network that halves its volume does."""
    return functional.interpolate(functional.avg_pool3d(windows, 2), scale_factor=2, mode="nearest")


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 29)] * 3),
    cube=st.integers(2, 12),
    spare=st.integers(2, 12),
    data=st.data(),
)
def test_a_network_that_changes_nothing_changes_nothing(
    shape: tuple[int, int, int], cube: int, spare: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(1, min(spare // 2, cube // 2)))
    tiles = Tiles(shape, cube, cube + spare, overlap)
    volume = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    assert float((whole(tiles, volume) - volume).abs().max()) < 1e-5


@pytest.mark.parametrize(("cube", "crop"), [(64, 96), (80, 128), (64, 80), (32, 48), (16, 24), (64, 72), (16, 64)])
def test_sizes_that_users_give_change_nothing(cube: int, crop: int) -> None:
    volume = torch.rand((20, 37, 70), generator=torch.Generator().manual_seed(2))
    tiles = Tiles((20, 37, 70), cube, crop, usual_overlap(cube, crop), divisor=8)
    assert float((whole(tiles, volume) - volume).abs().max()) < 1e-5


def test_slabs_go_along_the_longer_of_z_and_y() -> None:
    for shape, axis in (((40, 20, 9), 0), ((20, 40, 9), 1), ((20, 20, 60), 0)):
        tiles = Tiles(shape, 8, 16, 2)
        assert tiles.axis == axis
        volume = torch.rand(shape)
        slabs = [slab for slab in tiled_slabs(tiles, volume.__getitem__, same, 4) if slab is not None]
        starts = [slab.box[axis].start for slab in slabs]
        assert starts == sorted(starts)
        assert sum(slab.values.numel() for slab in slabs) == volume.numel()


@pytest.mark.parametrize("network", [smoothed, on_a_grid])
def test_the_result_does_not_depend_on_the_size_of_tiles(network) -> None:
    """IsoNet issue 60: what is seen beyond the overlap is enough for this network, so every division gives the same."""
    volume = torch.rand((24, 33, 40), generator=torch.Generator().manual_seed(3))
    found = [whole(Tiles((24, 33, 40), cube, crop, 2, divisor=2), volume, network) for cube, crop in SIZES]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=1e-5)


SIZES = [(8, 16), (12, 20), (16, 32), (40, 48)]


def test_seams_add_up_to_one_along_each_axis() -> None:
    tiles = Tiles((50, 31, 8), 8, 14, 3)
    for axis, side in enumerate(tiles.shape):
        total = torch.zeros(side)
        for number in range(tiles.counts[axis]):
            first, end = tiles.span(axis, number)
            total[first:end] += tiles.weight(axis, number)
        torch.testing.assert_close(total, torch.ones(side), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((64, 80, 9, 8), "crop must be 82 or more"),
        ((64, 64, 0, 8), "crop must be 66 or more"),
        ((64, 97, 4, 8), "must both divide by 8"),
        ((60, 96, 4, 8), "halves a volume 3 times"),
        ((8, 32, 5, 8), "more than half"),
        ((0, 32, 5, 8), "do not divide"),
    ],
)
def test_sizes_that_would_give_garbage_are_refused(sizes: tuple[int, int, int, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Tiles((100, 100, 100), *sizes)


def test_a_tomogram_that_nobody_can_hold_is_planned_in_little_memory() -> None:
    tiles = Tiles((1200, 4096, 4096), 64, 96, 8, divisor=8)
    assert tiles.axis == 1
    assert tiles.host_bytes < 6 * 2**30


def test_no_more_than_a_slab_is_asked_for() -> None:
    tiles, most = Tiles((20, 90, 30), 16, 24, 4), 0

    def read(box: Box) -> Tensor:
        nonlocal most
        shape = [part.stop - part.start for part in box]
        most = max(most, math.prod(shape))
        return torch.zeros(shape)

    assert all(slab is None or slab.values.shape[1] <= 24 for slab in tiled_slabs(tiles, read, same, 8))
    assert most == 20 * 24 * 30
