"""What is low in frequency lies on the coarse grid, the rest is left, and both make the whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from cryobridge.core.tomogram import (
    CoarseGrid,
    blocks,
    coarse_grid,
    coarsened,
    filtered_by,
    interpolated,
    mirrored_places,
    remainder_weight,
)

SHAPE = (41, 50, 64)


def noise() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(8).standard_normal(SHAPE)).float()


def on_grid(volume: torch.Tensor, grid: CoarseGrid, side: int) -> torch.Tensor:
    coarse = torch.full(grid.shape, math.nan)
    for part in blocks(grid.shape, (side,) * 3, (0, 0, 0)):
        read = volume
        for axis, (start, stop) in enumerate(grid.read(part.kept)):
            read = read.index_select(axis, mirrored_places(start, stop, volume.shape[axis]))
        coarse[tuple(slice(*span) for span in part.kept)] = coarsened(read, grid)
    return coarse


@pytest.mark.parametrize("side", [7, 100])
def test_the_coarse_grid_holds_every_fourth_voxel_of_a_smoothed_volume(side: int) -> None:
    volume, grid = noise(), CoarseGrid(SHAPE, 4)
    smooth = ndimage.gaussian_filter(volume.double().numpy(), 5 * 4 / math.pi, truncate=4.5)
    found = on_grid(volume, grid, side)[12 : 12 + 11, 12 : 12 + 13, 12 : 12 + 16]
    np.testing.assert_allclose(found, smooth[::4, ::4, ::4], atol=2e-3 * smooth.std())


def test_between_its_voxels_it_is_the_smoothed_volume() -> None:
    volume, grid = noise(), CoarseGrid(SHAPE, 4)
    smooth = ndimage.gaussian_filter(volume.double().numpy(), 5 * 4 / math.pi, truncate=4.5)
    coarse = on_grid(volume, grid, 100)
    for span in (((0, 41), (0, 50), (0, 64)), ((10, 30), (31, 50), (0, 9))):
        wanted = smooth[tuple(slice(*one) for one in span)]
        np.testing.assert_allclose(interpolated(coarse, grid, span), wanted, atol=0.02 * smooth.std())


def test_what_the_grid_leaves_of_a_block_is_the_rest() -> None:
    volume, grid = noise(), CoarseGrid(SHAPE, 4)
    smooth = ndimage.gaussian_filter(volume.double().numpy(), 5 * 4 / math.pi, mode="wrap", truncate=4.5)
    rest = filtered_by(volume, remainder_weight(SHAPE, grid, torch.device("cpu")))
    np.testing.assert_allclose(rest, volume.double().numpy() - smooth, atol=1e-3)


@pytest.mark.parametrize(("shape", "step"), [((200, 900, 900), 4), ((1200, 4096, 4096), 8), ((4096, 8192, 8192), 32)])
def test_the_grid_is_as_fine_as_memory_allows(shape: tuple[int, int, int], step: int) -> None:
    grid = coarse_grid(shape)
    assert grid.step == step
    assert math.prod(grid.shape) <= 64 << 20
