"""Which cubes of some blocks are learned from, and which are kept out of the training to watch it by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .material import TomogramBlock

_TURNED_REACH = (math.sqrt(3) - 1) / 2
"""Of the side of a cube: by so much a turned one goes beyond it."""
_LEFT = 1.5
"""Sides of a cube that are left to learn from along the axis that a slab is taken of."""


@dataclass(frozen=True)
class CubePlaces:
    """Where cubes of a block may begin.

    Attributes
    ----------
    block
        Its number.
    first, count
        The lowest corner, and how many there are from it on, along z, y and x.
    """

    block: int
    first: tuple[int, int, int]
    count: tuple[int, int, int]

    def drawn(self, generator: torch.Generator) -> Tensor:
        """The lowest corner (3,) int64 of a cube (side, side, side)."""
        steps = (int(torch.randint(count, (), generator=generator)) for count in self.count)
        return torch.tensor([start + step for start, step in zip(self.first, steps, strict=True)])


@dataclass(frozen=True)
class CubeShares:
    """Places that are learned from, and places kept out; none of the second where nothing could be kept out."""

    learned: tuple[CubePlaces, ...]
    kept: tuple[CubePlaces, ...] = ()


def all_places(blocks: Sequence[TomogramBlock], side: int) -> CubeShares:
    """Every cube of a side inside the margins of its block is learned from."""
    return CubeShares(tuple(_inside(number, block, side) for number, block in enumerate(blocks)))


def divided_places(blocks: Sequence[TomogramBlock], side: int, *, turned: bool) -> CubeShares:
    """Keep some cubes out.

    Of a block that is long enough it is a slab at the end of its longest axis, one cube thick, which no cube that is
    learned from touches. If no block is, the last one is kept out whole; beyond its margin, where turned cubes of a
    neighbour may reach, nothing of it is looked at. A single short block is learned from whole.

    Parameters
    ----------
    blocks
        Each holds a cube inside its margins.
    side
        Of the cubes.
    turned
        Whether some are turned by any angle, and so reach farther.
    """
    whole = all_places(blocks, side).learned
    gap = math.ceil(_TURNED_REACH * side) if turned else 0
    least = math.ceil(_LEFT * side)
    learned: list[CubePlaces] = []
    kept: list[CubePlaces] = []
    for one in whole:
        axis = max(range(3), key=lambda number: one.count[number])
        # Of so many corners the last is the slab's; the others must end a side and a gap before it.
        left = one.count[axis] - side - gap
        if left + side - 1 < least:
            learned.append(one)
            continue
        learned.append(CubePlaces(one.block, one.first, _replaced(one.count, axis, left)))
        last = one.first[axis] + one.count[axis] - 1
        kept.append(CubePlaces(one.block, _replaced(one.first, axis, last), _replaced(one.count, axis, 1)))
    if kept or len(whole) < 2:
        return CubeShares(tuple(learned), tuple(kept))
    return CubeShares(whole[:-1], whole[-1:])


def _inside(number: int, block: TomogramBlock, side: int) -> CubePlaces:
    z, y, x = (length - side - 2 * block.margin + 1 for length in block.shape)
    return CubePlaces(number, (block.margin,) * 3, (z, y, x))


def _replaced(values: tuple[int, int, int], axis: int, value: int) -> tuple[int, int, int]:
    z, y, x = (value if number == axis else one for number, one in enumerate(values))
    return z, y, x
