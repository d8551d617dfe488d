"""A network run over a tomogram of any size in overlapping tiles, slab by slab, with seams that sum to one.

A tile is what the network sees (`crop`) and what is taken of its answer: a `cube` out of the middle, and beyond it
`overlap` voxels in which it fades into its neighbour, as cos squared and sin squared do. Weights of all tiles sum to
one at every voxel. No more than a slab of the input and one of the sum are held, across the longer of z and y.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Box = tuple[slice, slice, slice]
"""Part of a tomogram (z, y, x)."""

_VOXEL_BYTES = 4
_AT_A_TIME = 32 << 20
"""Voxels of the result that are handed out at once."""


@dataclass(frozen=True)
class Tiles:
    """How a tomogram is divided.

    Attributes
    ----------
    shape
        Of the tomogram, (z, y, x).
    cube, crop
        What a tile answers for, and what it sees, in voxels along every axis.
    overlap
        How far two neighbours reach into each other, at most half of what crop is larger than cube.
    divisor
        Sides that the network takes divide by it.

    Raises
    ------
    ValueError
        If tiles of these sizes cannot be put together: one sentence.
    """

    shape: tuple[int, int, int]
    cube: int
    crop: int
    overlap: int
    divisor: int = 1

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or self.cube < 1:
            raise ValueError(f"cubes of {self.cube} do not divide a tomogram of {self.shape}")
        if self.overlap < 1 or self.crop - self.cube < 2 * self.overlap:
            least = self.cube + 2 * max(1, self.overlap)
            raise ValueError(
                f"crops of {self.crop} about cubes of {self.cube} have no room to overlap by {max(1, self.overlap)} on "
                f"both sides; the crop must be {least} or more"
            )
        if 2 * self.overlap > self.cube:
            raise ValueError(f"an overlap of {self.overlap} is more than half of a cube of {self.cube}")
        if self.crop % self.divisor or self.cube % self.divisor:
            raise ValueError(
                f"cubes of {self.cube} and crops of {self.crop} must both divide by {self.divisor}, as this network "
                f"halves a volume {round(math.log2(self.divisor))} times"
            )

    @property
    def axis(self) -> int:
        """Along which slabs follow each other: z or y, whichever is longer, so that slabs are thin."""
        return 0 if self.shape[0] >= self.shape[1] else 1

    @property
    def before(self) -> int:
        """How far a tile sees before its cube.

        On a multiple of the divisor where that leaves room, so that the network's own grid lies at the same voxels
        whatever the sizes are.
        """
        spare = self.crop - self.cube
        aligned = spare // 2 - spare // 2 % self.divisor
        return aligned if aligned >= self.overlap else spare // 2

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return math.prod(self.counts)

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many along each axis, (z, y, x)."""
        z, y, x = (-(-side // self.cube) for side in self.shape)
        return z, y, x

    @property
    def host_bytes(self) -> int:
        """What the slabs take at most: that of the input while it is looked over, that of the sum while it grows."""
        across = math.prod(self.shape) // self.shape[self.axis]
        seen = min(self.crop, self.shape[self.axis])
        added = min(self.cube + 2 * self.overlap, self.shape[self.axis])
        return int(_VOXEL_BYTES * (across * (1.25 * seen + 2 * added) + 3 * min(_AT_A_TIME, across * added)))

    def span(self, axis: int, number: int) -> tuple[int, int]:
        """First voxel and end of what a tile adds to along an axis, clipped to the tomogram."""
        first = max(0, number * self.cube - self.overlap)
        return first, min(self.shape[axis], (number + 1) * self.cube + self.overlap)

    def weight(self, axis: int, number: int) -> Tensor:
        """The weight of a tile along an axis, (end - first,) of its span, float32: 1 but where a neighbour fades in."""
        first, end = self.span(axis, number)
        place = torch.arange(first, end, dtype=torch.float64) + 0.5
        weight = torch.ones_like(place)
        for border, is_rise in ((number * self.cube, True), ((number + 1) * self.cube, False)):
            if border in (0, self.counts[axis] * self.cube):
                continue
            through = ((place - border + self.overlap) / (2 * self.overlap)).clamp(0, 1)
            weight *= (math.pi / 2 * (through if is_rise else 1 - through)).sin().square()
        return weight.float()

    def seen(self, axis: int, number: int) -> Tensor:
        """Voxels that a tile sees along an axis, (crop,) int64; mirrored at the ends of the tomogram."""
        first, size = number * self.cube - self.before, self.shape[axis]
        index = torch.arange(first, first + self.crop).remainder(2 * size)
        return torch.where(index < size, index, 2 * size - 1 - index)


@dataclass(frozen=True)
class FinishedSlab:
    """A part of the result that nothing is added to any more.

    box
        Where it lies, (z, y, x).
    values
        Of that shape, float32 on the CPU.
    """

    box: Box
    values: Tensor


def usual_overlap(cube: int, crop: int) -> int:
    """A quarter of what a crop is larger than its cube: as much again is seen beyond, which keeps borders away."""
    return max(1, min((crop - cube) // 4, cube // 2))


def tiled_slabs(
    tiles: Tiles,
    read: Callable[[Box], Tensor],
    network: Callable[[Tensor], Tensor],
    batch: int,
    device: torch.device | str = "cpu",
) -> Iterator[FinishedSlab | None]:
    """Apply a network to a tomogram.

    Parameters
    ----------
    tiles
        How it is divided.
    read
        Gives a part of it, of the box's shape, float32 on the CPU.
    network
        From (b, 1, crop, crop, crop) to the same, on the device.
    batch, device
        Tiles at a time, and where.

    Yields
    ------
    None after each batch, so that the caller can stop between two; parts of the result as soon as they are whole, in
    their order along the slabs' axis.
    """
    axis, across = tiles.axis, 1 - tiles.axis
    total = torch.zeros(_with(tiles.shape, axis, 0))
    done = 0
    for layer in range(tiles.counts[axis]):
        end = tiles.span(axis, layer)[1]
        total = _longer(total, axis, end - done)
        seen = tiles.seen(axis, layer)
        start = int(seen.min())
        slab = read(_box(tiles.shape, axis, start, int(seen.max()) + 1))
        numbers = itertools.product(range(tiles.counts[across]), range(tiles.counts[2]))
        places = [(layer, a, x) if axis == 0 else (a, layer, x) for a, x in numbers]
        for group in _batches(places, batch):
            windows = [_window(tiles, slab, place, axis, seen - start) for place in group]
            answers = network(torch.stack(windows)[:, None].to(device))
            for place, answer in zip(group, answers[:, 0], strict=True):
                _add(tiles, total, place, answer.float().cpu(), done)
            yield None
        # Not kept while the result is handed out, nor while the next one is read.
        del slab
        last = layer + 1 == tiles.counts[axis]
        ready = tiles.shape[axis] if last else min((layer + 1) * tiles.cube - tiles.overlap, tiles.shape[axis])
        yield from _finished(tiles, total, done, ready)
        total = total.narrow(axis, ready - done, total.shape[axis] - (ready - done)).clone()
        done = ready


def _window(tiles: Tiles, slab: Tensor, place: Sequence[int], axis: int, along: Tensor) -> Tensor:
    """What a tile sees (crop, crop, crop), out of a slab."""
    places = [along if one == axis else tiles.seen(one, number) for one, number in enumerate(place)]
    lows = [int(index.min()) for index in places]
    z, y, x = (slice(low, int(index.max()) + 1) for low, index in zip(lows, places, strict=True))
    # A view first: what is picked from is then no larger than a tile.
    found = slab[z, y, x]
    for one, (low, index) in enumerate(zip(lows, places, strict=True)):
        is_straight = len(index) == found.shape[one] and int(index[0]) == low
        found = found if is_straight else found.index_select(one, index - low)
    return found


def _finished(tiles: Tiles, total: Tensor, done: int, ready: int) -> Iterator[FinishedSlab]:
    """What is whole of the sum, from one voxel along the slabs' axis to another, in pieces of bounded size."""
    axis = tiles.axis
    step = max(1, _AT_A_TIME * tiles.shape[axis] // math.prod(tiles.shape))
    for start in range(done, ready, step):
        end = min(start + step, ready)
        yield FinishedSlab(_box(tiles.shape, axis, start, end), total.narrow(axis, start - done, end - start).clone())


def _add(tiles: Tiles, total: Tensor, place: Sequence[int], answer: Tensor, done: int) -> None:
    """Add a tile's answer (crop, crop, crop) to the sum, whose first voxel along the slabs' axis is `done`."""
    inside, target = [], []
    for axis, number in enumerate(place):
        first, end = tiles.span(axis, number)
        seen_from = number * tiles.cube - tiles.before
        inside.append(slice(first - seen_from, end - seen_from))
        shift = done if axis == tiles.axis else 0
        target.append(slice(first - shift, end - shift))
    z, y, x = (tiles.weight(axis, number) for axis, number in enumerate(place))
    part = answer[inside[0], inside[1], inside[2]]
    total[target[0], target[1], target[2]].addcmul_(part, z[:, None, None] * (y[:, None] * x))


def _longer(total: Tensor, axis: int, length: int) -> Tensor:
    """The sum with zeros after it, to a length."""
    more = length - total.shape[axis]
    return torch.cat((total, torch.zeros(_with(total.shape, axis, more))), dim=axis) if more > 0 else total


def _with(shape: Sequence[int], axis: int, length: int) -> list[int]:
    return [length if one == axis else side for one, side in enumerate(shape)]


def _box(shape: Sequence[int], axis: int, start: int, end: int) -> Box:
    z, y, x = (slice(start, end) if one == axis else slice(0, side) for one, side in enumerate(shape))
    return z, y, x


def _batches(places: Sequence[tuple[int, int, int]], size: int) -> Iterator[Sequence[tuple[int, int, int]]]:
    for start in range(0, len(places), size):
        yield places[start : start + size]
