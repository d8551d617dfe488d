"""Inputs with a second wedge: a whole block, filled where nothing was measured, and emptied in another orientation.

The network sees R(x) with the wedge of the tomogram, and is asked for R(y), measured where the turned wedge is:
so it learns what it is to fill, from what is known (the principle of IsoNet, Liu et al., Nature Communications 2022,
doi 10.1038/s41467-022-33957-8, and of DeepDeWedge, Wiedemann & Heckel, Nature Communications 2024,
doi 10.1038/s41467-024-51438-y). Emptying the whole block at once, and not each crop, leaves no edge of a crop in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .material import TomogramBlock
from .orientations import Orientation, by_place
from .wedge import wedge_weight


@dataclass(frozen=True)
class View:
    """A block emptied for one rotation.

    Attributes
    ----------
    orientations
        Rotations of the cube that this is for; none for a free one.
    matrix
        The free rotation (3, 3), z, y, x; that of the first orientation otherwise.
    volumes
        (2, z, y, x), of the even and of the odd half, not turned yet.
    kept, hidden
        Weights of the loss on a cube's half spectrum, (c, c, c // 2 + 1): measured and seen, measured and taken away.
    """

    orientations: tuple[Orientation, ...]
    matrix: Tensor
    volumes: Tensor
    kept: Tensor
    hidden: Tensor


class DoubledViews:
    """Makes the views of one block for cubes of a side.

    Parameters
    ----------
    block
        On the device to compute on.
    side
        Of the cubes that will be cut.
    """

    def __init__(self, block: TomogramBlock, side: int) -> None:
        self.block = block
        self._side = side
        self._own = wedge_weight(block.wedge, (side,) * 3, device=block.seen.device)
        self._emphasis = block.emphasis.at((side,) * 3, block.seen.device)
        self._groups = by_place(block.wedge)

    def of_cube(self, filled: Tensor) -> list[View]:
        """One view for each place to which a rotation of the cube moves the wedge.

        Parameters
        ----------
        filled
            Half spectra of both halves with what the network fills in, (2, z, y, x // 2 + 1).
        """
        return [self._view(filled, group[0].matrix, group) for group in self._groups]

    def free(self, filled: Tensor, matrices: Tensor) -> list[View]:
        """One view for each of some rotation matrices (count, 3, 3)."""
        return [self._view(filled, matrix, ()) for matrix in matrices]

    def _view(self, filled: Tensor, matrix: Tensor, group: tuple[Orientation, ...]) -> View:
        device, shape = filled.device, self.block.shape
        # Emptied so that the turned block has the tomogram's own wedge.
        volumes = torch.fft.irfftn(
            filled * wedge_weight(self.block.wedge, shape, matrix.T, device), s=shape, dim=(-3, -2, -1)
        )
        turned = wedge_weight(self.block.wedge, (self._side,) * 3, matrix, device) * self._emphasis
        return View(group, matrix, volumes, turned * self._own, turned * (1 - self._own))


def take(volume: Tensor, corner: Tensor, side: int) -> Tensor:
    """The cube (side, side, side) of a volume (z, y, x) at a corner (3,)."""
    z, y, x = corner.tolist()
    return volume[z : z + side, y : y + side, x : x + side]


def take_turned(volume: Tensor, corner: Tensor, side: int, matrix: Tensor) -> Tensor:
    """A cube (side, side, side) turned about its centre by a matrix (3, 3), trilinear; mirrored beyond the faces."""
    steps = torch.arange(side, dtype=torch.float32, device=volume.device) - (side - 1) / 2
    places = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), dim=-1)
    # A voxel of the turned cube at r comes from R^T r.
    centre = corner.to(volume.device, torch.float32) + (side - 1) / 2
    sources = places @ matrix.to(volume.device, torch.float32) + centre
    sides = torch.tensor(volume.shape, dtype=torch.float32, device=volume.device)
    grid = (2 * sources / (sides - 1) - 1).flip(-1)
    found = functional.grid_sample(volume[None, None], grid[None], padding_mode="reflection", align_corners=True)
    return found[0, 0]


def random_matrices(count: int, generator: torch.Generator) -> Tensor:
    """Rotations (count, 3, 3) float32, uniform on SO(3) (Shoemake 1992: normalised Gaussian quaternions)."""
    q = torch.randn(count, 4, generator=generator)
    w, x, y, z = (q / q.norm(dim=1, keepdim=True)).unbind(1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)
