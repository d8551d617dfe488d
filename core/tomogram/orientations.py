"""The 24 rotations of the cube as exchanges and mirrors of axes, and which of them move a tomogram's wedge.

A rotation is written as the order of axes and the axes that are mirrored afterwards, so that a volume is turned without
any interpolation. Matrices are in (z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..volume import CUBE_TURNS
from .wedge import Wedge, wedge_weight

_SIDE = 16


@dataclass(frozen=True)
class Orientation:
    """One rotation of the cube: axes (z, y, x) in a new order, then mirrored where a sign is -1."""

    axes: tuple[int, int, int]
    signs: tuple[int, int, int]

    @property
    def matrix(self) -> Tensor:
        """The rotation as a matrix (axes, axes), 3 of them as (z, y, x), that maps an old place to its new one."""
        found = torch.zeros(3, 3, dtype=torch.float64)
        for new, (old, sign) in enumerate(zip(self.axes, self.signs, strict=True)):
            found[new, old] = sign
        return found

    def apply(self, volume: Tensor) -> Tensor:
        """A volume (..., z, y, x) turned about its centre, a view as far as that goes."""
        leading = tuple(range(volume.dim() - 3))
        turned = volume.permute(*leading, *(axis - 3 + volume.dim() for axis in self.axes))
        mirrored = [axis - 3 for axis, sign in enumerate(self.signs) if sign < 0]
        return turned.flip(mirrored) if mirrored else turned

    def undo(self, volume: Tensor) -> Tensor:
        """What `apply` was given, (..., n, n, n)."""
        mirrored = [axis - 3 for axis, sign in enumerate(self.signs) if sign < 0]
        turned = volume.flip(mirrored) if mirrored else volume
        leading = tuple(range(volume.dim() - 3))
        back = [self.axes.index(axis) - 3 + volume.dim() for axis in range(3)]
        return turned.permute(*leading, *back)


def all_orientations() -> tuple[Orientation, ...]:
    """All 24, the identity first."""
    found = []
    for axes, mirrored in CUBE_TURNS:
        z, y, x = (-1 if axis in mirrored else 1 for axis in range(3))
        found.append(Orientation(axes, (z, y, x)))
    return tuple(found)


def keeping(wedge: Wedge) -> tuple[Orientation, ...]:
    """Those that map the measured region to itself, the identity first: 4 of a symmetric wedge, 2 of another."""
    own = _pattern(wedge, None)
    return tuple(one for one in all_orientations() if torch.equal(_pattern(wedge, one), own))


def moving(wedge: Wedge) -> tuple[Orientation, ...]:
    """Those that move it: the 20 of a symmetric wedge that missing-wedge correction learns from."""
    kept = set(keeping(wedge))
    return tuple(one for one in all_orientations() if one not in kept)


def by_place(wedge: Wedge) -> tuple[tuple[Orientation, ...], ...]:
    """Those that move it, in groups that ask for the same emptying: 5 groups of a symmetric wedge, 11 of another.

    R and R' empty a volume alike where R' R^-1 keeps the wedge.
    """
    matrices = [one.matrix for one in keeping(wedge)]
    found: list[list[Orientation]] = []
    for one in moving(wedge):
        for group in found:
            if any(torch.equal(one.matrix @ group[0].matrix.T, matrix) for matrix in matrices):
                group.append(one)
                break
        else:
            found.append([one])
    return tuple(tuple(group) for group in found)


def _pattern(wedge: Wedge, orientation: Orientation | None) -> Tensor:
    sharp = Wedge(wedge.sectors_deg)
    turn = None if orientation is None else orientation.matrix
    # No frequency at the edge of a sector, and none at Nyquist: an odd side.
    return wedge_weight(sharp, (_SIDE + 1,) * 3, turn) > 0.5
