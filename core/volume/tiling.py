"""Overlapping tiles: run a network over a whole map, where the mask is, with seams that sum to one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

MARGIN = 16
SMALLEST_TILE = 2 * MARGIN
_TRIM = 1


def tile_starts(n: int, tile: int) -> list[int]:
    """First voxels, along one axis of a box of n, of tiles that cover it; the first may be negative.

    Tiles lie `tile - 16` apart. Each is trusted but for its outermost voxel, with linear ramps over 14 voxels where
    neighbours meet, as spIsoNet does with crops of 80 every 64.
    """
    if n > tile and tile < SMALLEST_TILE:
        raise ValueError(f"a tile of {tile} has no room for its ramps; it must be at least {SMALLEST_TILE}")
    if n <= tile:
        return [-((tile - n) // 2)]
    stride = tile - MARGIN
    # The ramps of the first and last tile lie outside the box.
    count = -(-(n + MARGIN - 2 * _TRIM) // stride)
    span = (count - 1) * stride + tile
    first = -((span - n) // 2)
    return [first + index * stride for index in range(count)]


def tile_ramp(tile: int, device: torch.device, *, alone: bool = False) -> Tensor:
    """Weight of a tile along one axis (tile,): 0 in the trimmed voxels, ramps of 14, 1 between."""
    if alone:
        return torch.ones(tile, device=device)
    ramp = MARGIN - 2 * _TRIM
    position = torch.arange(tile, device=device, dtype=torch.float32) - _TRIM
    rise = (position + 0.5) / ramp
    fall = (tile - 2 * _TRIM - position - 0.5) / ramp
    return torch.minimum(rise, fall).clamp(0, 1)


def tiled(
    network: Callable[[Tensor], Tensor],
    volume: Tensor,
    where: Tensor | None,
    tile: int,
    batch: int,
    held: list[Tensor] | None = None,
) -> Iterator[Tensor | None]:
    """Apply a network tile by tile.

    Parameters
    ----------
    network
        From (b, c, tile, tile, tile) to (b, 1, tile, tile, tile).
    volume
        (n, n, n), or (c, n, n, n) of which the first channel is the map.
    where
        (n, n, n) boolean; tiles without any true voxel are not computed, and voxels that are false keep the
        volume's value. None means everywhere.
    tile, batch
        Side of the tiles, tiles at a time.
    held
        Filled with the tensors that are kept from one batch to the next, so that they can be moved meanwhile.

    Yields
    ------
    None after each batch, so that the caller can stop between two; at last the result (n, n, n).
    """
    n = volume.shape[-1]
    channels = volume if volume.ndim == 4 else volume[None]
    starts = tile_starts(n, tile)
    ramp = tile_ramp(tile, volume.device, alone=len(starts) == 1)
    window = ramp[:, None, None] * ramp[:, None] * ramp
    before, after = -starts[0], starts[-1] + tile - n
    padded = _reflected(channels, before, after)
    needed = None if where is None else functional.pad(where, (before, after) * 3)
    corners = [(z + before, y + before, x + before) for z in starts for y in starts for x in starts]
    if needed is not None:
        corners = [c for c in corners if bool(needed[_cube(c, tile)].any())]
    total = torch.zeros_like(padded[0])
    if held is not None:
        held += [channels, window, padded, total, *([] if where is None else [where])]
    for index in range(0, len(corners), batch):
        group = corners[index : index + batch]
        results = network(torch.stack([padded[:, *_cube(corner, tile)] for corner in group]))
        for corner, result in zip(group, results[:, 0], strict=True):
            total[_cube(corner, tile)] += result.to(total.dtype) * window
        yield None
    inside = slice(before, before + n)
    result = total[inside, inside, inside]
    yield result if where is None else torch.where(where, result, channels[0])


def _cube(corner: tuple[int, int, int], side: int) -> tuple[slice, slice, slice]:
    z, y, x = corner
    return slice(z, z + side), slice(y, y + side), slice(x, x + side)


def _reflected(volume: Tensor, before: int, after: int) -> Tensor:
    """Pad by mirroring, however much is asked for (torch's own reflection stops at one box length)."""
    n = volume.shape[-1]
    index = torch.arange(-before, n + after, device=volume.device).remainder(2 * n)
    index = torch.where(index < n, index, 2 * n - 1 - index)
    return volume[..., index, :, :][..., index, :][..., index]
