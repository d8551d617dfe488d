"""Rotations of crops on the device: the 24 of the cube (exact) and uniform ones on SO(3) (interpolated).

Axes are (z, y, x). A rotation acts on the content of a crop about its centre (side - 1) / 2, and every sample of a
batch has its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import torch
from torch import Tensor
from torch.nn import functional

Turn = tuple[tuple[int, int, int], tuple[int, ...]]


def _parity(order: Sequence[int]) -> int:
    return sum(order[i] > order[j] for i in range(3) for j in range(i + 1, 3)) % 2


def _cube_turns() -> list[Turn]:
    """(axis order, flipped axes): proper when the parities of permutation and flips agree."""
    return [
        ((order[0], order[1], order[2]), tuple(axis for axis in range(3) if flips[axis]))
        for order in permutations(range(3))
        for flips in product((0, 1), repeat=3)
        if (_parity(order) + sum(flips)) % 2 == 0
    ]


CUBE_TURNS = _cube_turns()


def turn(volumes: Tensor, index: int) -> Tensor:
    """Rotate (..., d, d, d) by rotation `index` of the 24; exact, 0 is the identity."""
    order, flips = CUBE_TURNS[index]
    lead = volumes.ndim - 3
    turned = volumes.permute(*range(lead), *(lead + axis for axis in order))
    return turned.flip([lead + axis for axis in flips]) if flips else turned


def turn_back(volumes: Tensor, index: int) -> Tensor:
    """Undo `turn` of (..., d, d, d)."""
    order, flips = CUBE_TURNS[index]
    lead = volumes.ndim - 3
    turned = volumes.flip([lead + axis for axis in flips]) if flips else volumes
    inverse = [order.index(axis) for axis in range(3)]
    return turned.permute(*range(lead), *(lead + axis for axis in inverse))


def turn_each(volumes: Tensor, turns: Sequence[int] | Tensor) -> Tensor:
    """Rotate each sample of (b, c, d, d, d) by its own of the 24 rotations; exact.

    Rotations are given by number or, where nothing may wait for numbers on the host, as `turn_matrices` (b, 3, 3).
    """
    if isinstance(turns, Tensor):
        return _gathered(volumes, turns)
    return torch.stack([turn(volume, index) for volume, index in zip(volumes, turns, strict=True)])


def turn_each_back(volumes: Tensor, turns: Sequence[int] | Tensor) -> Tensor:
    """Undo `turn_each` of (b, c, d, d, d)."""
    if isinstance(turns, Tensor):
        return _gathered(volumes, turns.transpose(1, 2))
    return torch.stack([turn_back(volume, index) for volume, index in zip(volumes, turns, strict=True)])


def turn_matrices(device: torch.device | str) -> Tensor:
    """The 24 rotations as matrices (count, 3, 3) on z, y, x: a voxel of the result at r comes from M r."""
    matrices = torch.zeros(len(CUBE_TURNS), 3, 3)
    for matrix, (order, flips) in zip(matrices, CUBE_TURNS, strict=True):
        for axis, source in enumerate(order):
            matrix[source, axis] = -1.0 if axis in flips else 1.0
    return matrices.to(device)


def _gathered(volumes: Tensor, matrices: Tensor) -> Tensor:
    """Each voxel of sample i of (b, c, d, d, d) from where matrices[i] (b, 3, 3) says, on centred coordinates."""
    b, c, d = volumes.shape[:3]
    # Twice the coordinates about the centre are whole numbers, and float32 holds them exactly.
    axis = 2.0 * torch.arange(d, device=volumes.device) - (d - 1)
    places = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).reshape(3, -1)
    source = ((matrices.to(places) @ places + (d - 1)) / 2).round().long()
    flat = (source[:, 0] * d + source[:, 1]) * d + source[:, 2]
    return volumes.flatten(2).gather(2, flat[:, None].expand(b, c, -1)).view(b, c, d, d, d)


def random_turns(count: int, generator: torch.Generator, *, identity: bool = True) -> list[int]:
    """Draw `count` of the 24 rotations; without `identity` only the 23 that move something."""
    lowest = 0 if identity else 1
    drawn: list[int] = torch.randint(lowest, len(CUBE_TURNS), (count,), generator=generator).tolist()
    return drawn


def random_matrices(count: int, generator: torch.Generator) -> Tensor:
    """Rotation matrices (count, 3, 3), uniform on SO(3).

    A normalised Gaussian 4-vector is a uniform unit quaternion (Shoemake, Graphics Gems III, 1992).
    """
    w, x, y, z = functional.normalize(torch.randn(count, 4, generator=generator, dtype=torch.float64), dim=1).unbind(1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1).float()


def rotate(volumes: Tensor, matrices: Tensor) -> Tensor:
    """Rotate each sample of (b, c, d, d, d) by its matrix (b, 3, 3), trilinear, zero outside.

    The matrices act on (x, y, z) coordinates about the crop's centre: out(r) = in(R^T r).
    """
    back = matrices.to(volumes).transpose(1, 2)
    grid = functional.affine_grid(functional.pad(back, (0, 1)), [*volumes.shape], align_corners=True)
    return functional.grid_sample(volumes, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def spherical_window(side: int, device: torch.device, edge: float = 4.0) -> Tensor:
    """Window (side, side, side): 1 inside the inscribed ball, cosine to 0 over `edge` voxels at its surface.

    Under an arbitrary rotation only what lies in this ball stays inside the cube.
    """
    axis = torch.arange(side, device=device, dtype=torch.float32) - (side - 1) / 2
    r = torch.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    depth = ((side - 1) / 2 - r).clamp(0, edge) / edge
    return 0.5 - 0.5 * torch.cos(torch.pi * depth)
