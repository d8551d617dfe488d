"""A volume cut into blocks that are worked on one after the other, each with a margin that is thrown away again.

What bounds memory whatever the volume: only one block and its margin are held.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Span = tuple[int, int]
"""First voxel, and the one after the last, along an axis."""
Spans = tuple[Span, Span, Span]
"""Along z, y and x."""


@dataclass(frozen=True)
class VolumeBlock:
    """One part of a volume.

    Attributes
    ----------
    kept
        Which voxels (z, y, x) of the volume it stands for; those of all blocks cover it once.
    read
        The same with the margin, which may reach beyond the volume.
    """

    kept: Spans
    read: Spans

    @property
    def inside(self) -> tuple[slice, slice, slice]:
        """Where what is kept lies in what was read."""
        z, y, x = (slice(kept[0] - read[0], kept[1] - read[0]) for kept, read in zip(self.kept, self.read, strict=True))
        return z, y, x

    def clipped(self, shape: tuple[int, int, int]) -> VolumeBlock:
        """The same with a margin that ends where the volume does."""
        z, y, x = ((max(0, start), min(size, stop)) for (start, stop), size in zip(self.read, shape, strict=True))
        return VolumeBlock(self.kept, (z, y, x))


def blocks(
    shape: tuple[int, int, int], side: tuple[int, int, int], margin: tuple[int, int, int], *, fast: bool = False
) -> Iterator[VolumeBlock]:
    """Cut a volume (z, y, x) into blocks of almost one size, x fastest.

    Parameters
    ----------
    shape
        Of the volume.
    side
        Longest sides of what is kept of a block, (z, y, x).
    margin
        Voxels that are read beyond it on both sides of each axis, at least: all blocks are read in one size, so that
        what is made for a size is made once.
    fast
        Whether the sizes that are read have no prime factor beyond 7, as transforms like them.

    Raises
    ------
    ValueError
        If a side is below 1 or a margin below 0.
    """
    if min(side) < 1 or min(margin) < 0 or min(shape) < 1:
        raise ValueError(f"no blocks of {side} with a margin of {margin} in a volume of {shape}")
    axes = [_spans(size, longest) for size, longest in zip(shape, side, strict=True)]
    sizes = [max(stop - start for start, stop in axis) + 2 * more for axis, more in zip(axes, margin, strict=True)]
    if fast:
        sizes = [fast_length(size) for size in sizes]
    for kept in itertools.product(*axes):
        starts = [start - more for (start, _), more in zip(kept, margin, strict=True)]
        z, y, x = ((start, start + size) for start, size in zip(starts, sizes, strict=True))
        yield VolumeBlock((kept[0], kept[1], kept[2]), (z, y, x))


def block_count(shape: tuple[int, int, int], side: tuple[int, int, int]) -> int:
    """How many blocks `blocks` makes."""
    count = 1
    for size, longest in zip(shape, side, strict=True):
        count *= -(-size // longest)
    return count


def mirrored_places(start: int, stop: int, size: int) -> Tensor:
    """Where in an axis of `size` voxels, mirrored at its ends, places from `start` to `stop` lie, (stop - start,)."""
    places = torch.arange(start, stop) % (2 * size)
    return torch.where(places < size, places, 2 * size - 1 - places)


def fast_length(least: int) -> int:
    """The smallest length from `least` on without a prime factor beyond 7."""
    length = max(1, least)
    while not _is_fast(length):
        length += 1
    return length


def _is_fast(length: int) -> bool:
    for factor in (2, 3, 5, 7):
        while length % factor == 0:
            length //= factor
    return length == 1


def _spans(size: int, longest: int) -> list[Span]:
    """Parts of an axis that differ by a voxel at most."""
    count = -(-size // longest)
    borders = [size * number // count for number in range(count + 1)]
    return list(itertools.pairwise(borders))
