"""The low frequencies of several volumes on one small grid, and their slices as sparse matrices.

What is kept of a spectrum is the half x >= 0 of a cube around the origin, flat, so that a slice of K volumes is one
product of a sparse matrix with a table of K columns, and its adjoint another.
"""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from ..particles import FourierGrid


@dataclass(frozen=True)
class BandGrid:
    """The voxels of a spectrum up to a radius.

    Attributes
    ----------
    box
        Of the volumes, in voxels.
    radius
        Reach in cycles per box.
    padding
        Voxels of the grid for one of the volumes' spectrum.
    """

    box: int
    radius: float
    padding: int = 1

    def __post_init__(self) -> None:
        """Raise `ValueError` where the grid would be wider than the spectrum that it is cut from."""
        if self.side > self.padding * self.box:
            raise ValueError(f"a radius of {self.radius:g} is beyond a box of {self.box}, in which there is no more")

    @property
    def side(self) -> int:
        """Voxels along y and z."""
        return 2 * (math.ceil(self.padding * self.radius) + 2)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the half grid in z, y, x, DC first."""
        return self.side, self.side, self.side // 2 + 1

    def __len__(self) -> int:
        """Number of voxels, V."""
        return math.prod(self.shape)

    def radii(self, device: torch.device | str) -> Tensor:
        """(V,) distance of each voxel from the origin in cycles per box, float32."""
        axis = torch.fft.fftfreq(self.side, 1 / self.side, device=device) / self.padding
        half = torch.arange(self.side // 2 + 1, device=device) / self.padding
        squared = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + half**2
        found: Tensor = squared.sqrt()
        return found.reshape(-1)

    def inside(self, device: torch.device | str) -> Tensor:
        """(V,) bool: voxels within the radius."""
        return self.radii(device) <= self.radius

    def weights(self, device: torch.device | str) -> Tensor:
        """(V,) how often each voxel counts in a sum over the whole spectrum: 2, on the plane x = 0 once."""
        found = torch.full(self.shape, 2.0, device=device)
        found[:, :, 0] = 1.0
        return found.reshape(-1)

    def table_of(self, volumes: Tensor) -> Tensor:
        """Table (V, 2 K) float32 to sample volumes (K, n, n, n) from: K real parts, then K imaginary parts."""
        return self._cropped([FourierGrid.of(volume, self.padding).values for volume in volumes])

    def spectra_of(self, volumes: Tensor) -> Tensor:
        """Spectra (V, 2 K) without padding of volumes (K, n, n, n), to be compared; zero beyond the radius."""
        found = self._cropped([torch.fft.rfftn(torch.fft.ifftshift(volume.float())) for volume in volumes])
        return found * self.inside(found.device)[:, None]

    def volumes_of(self, table: Tensor) -> Tensor:
        """Volumes (K, n, n, n) of spectra (V, 2 K) without padding, zero beyond the radius."""
        kept = self._complex(table * self.inside(table.device)[:, None])
        places = torch.fft.fftfreq(self.side, 1 / self.side, device=table.device).long() % self.box
        found = []
        for column in kept.T:
            grid = torch.zeros(self.box, self.box, self.box // 2 + 1, dtype=torch.complex64, device=table.device)
            grid[places[:, None], places, : self.side // 2 + 1] = column.reshape(self.shape)
            found.append(torch.fft.fftshift(torch.fft.irfftn(grid, s=(self.box,) * 3)))
        return torch.stack(found)

    def in_space(self, table: Tensor, factor: Tensor) -> Tensor:
        """Spectra (V, 2 K) without padding times a factor (L, L, L) in real space, within the radius; L is the `side`.

        The grid's own voxels cover the box in z, y, x at a coarse sampling, the centre at L // 2.
        """
        side = (self.side,) * 3
        volumes = torch.fft.irfftn(self._complex(table).T.reshape(-1, *self.shape), s=side, dim=(1, 2, 3))
        spectra = torch.fft.rfftn(volumes * torch.fft.ifftshift(factor), dim=(1, 2, 3)).reshape(-1, len(self)).T
        return torch.cat([spectra.real, spectra.imag], dim=1) * self.inside(table.device)[:, None]

    def coarse_radii(self, device: torch.device | str) -> tuple[Tensor, Tensor]:
        """Of the voxels in real space: distance from the centre in boxes (L, L, L), and sinc^2 along each axis."""
        axis = torch.arange(self.side, device=device) / self.side - 0.5
        kernel = torch.sinc(axis) ** 2
        distance = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2).sqrt()
        return distance, kernel[:, None, None] * kernel[None, :, None] * kernel

    def _cropped(self, spectra: list[Tensor]) -> Tensor:
        columns = []
        for values in spectra:
            places = torch.fft.fftfreq(self.side, 1 / self.side, device=values.device).long() % values.shape[0]
            columns.append(values[places][:, places][:, :, : self.side // 2 + 1].reshape(-1))
        table = torch.stack(columns, dim=1)
        return torch.cat([table.real, table.imag], dim=1)

    @staticmethod
    def _complex(table: Tensor) -> Tensor:
        count = table.shape[1] // 2
        return torch.complex(table[:, :count], table[:, count:])

    def mated(self, sums: Tensor, odd: slice) -> Tensor:
        """Sums (V, channels) with what Friedel mates add to the plane x = 0; `odd` channels are imaginary parts."""
        grid = sums.reshape(*self.shape, -1).clone()
        mates = torch.roll(grid[:, :, 0].flip(0, 1), (1, 1), (0, 1))
        mates[..., odd] = -mates[..., odd]
        grid[:, :, 0] += mates
        return grid.reshape(len(self), -1)


def widest_radius(box: int) -> float:
    """The farthest that a grid without padding reaches in a box, in cycles per box: two voxels less than Nyquist."""
    return float(box // 2 - 2)


class SparseSlices:
    """Trilinear slices of a grid at Q points, and their adjoint.

    Points with x < 0 are taken at their Friedel mates; `flipped` (Q,) says which, and imaginary parts of what is
    compared with them change their sign.

    Parameters
    ----------
    points
        (..., 3) in x, y, z, cycles per box; beyond the grid there is nothing.
    """

    def __init__(self, grid: BandGrid, points: Tensor) -> None:
        scaled = points.reshape(-1, 3) * grid.padding
        self.flipped = scaled[:, 0] < 0
        scaled = torch.where(self.flipped[:, None], -scaled, scaled)
        side, half = grid.side, grid.side // 2 + 1
        # Poses that allow for another pixel size may lead beyond the grid.
        inside = (scaled.abs() < side // 2 - 1).all(dim=1)
        scaled = scaled * inside[:, None]
        base = torch.floor(scaled)
        shares = _shares(scaled - base) * inside[:, None]
        x, y, z = base.int().unbind(dim=1)
        shift = side // 2
        # Before the coordinates wrap around, so that the voxels around a cell are at fixed distances.
        cell = ((z + shift) * side + y + shift) * half + x
        offsets, count = _offsets(side, half, points.device), len(scaled)
        voxel = _wrapped(torch.arange(side * side * half, device=points.device), side, half)
        columns = voxel[(cell[:, None] + offsets).long()].int()
        starts = torch.arange(0, 8 * count + 1, 8, device=points.device, dtype=torch.int32)
        self._take = _by_rows(starts, columns.reshape(-1), shares.reshape(-1), (count, len(grid)))
        cells, self._put = _by_cell(cell, shares)
        self._targets = voxel[(cells.long()[None, :] + offsets.long()[:, None]).reshape(-1)]
        self._size = len(grid)

    def take(self, table: Tensor) -> Tensor:
        """Values (Q, channels) of a table (V, channels) at the points."""
        found: Tensor = self._take @ table
        return found

    def put(self, values: Tensor) -> Tensor:
        """Sums (V, channels) of values (Q, channels): the adjoint of `take`."""
        sums = torch.zeros(self._size, values.shape[1], device=values.device)
        return sums.index_add_(0, self._targets, self._put @ values)


def _shares(far: Tensor) -> Tensor:
    """(Q, 8) shares of the corners around points (Q, 3), x fastest."""
    near = 1 - far
    x = torch.stack([near[:, 0], far[:, 0]], dim=1)
    y = torch.stack([near[:, 1], far[:, 1]], dim=1)
    z = torch.stack([near[:, 2], far[:, 2]], dim=1)
    return (z[:, :, None, None] * y[:, None, :, None] * x[:, None, None, :]).reshape(-1, 8)


def _offsets(side: int, half: int, device: torch.device) -> Tensor:
    """(8,) distances of the corners of a cell, x fastest, before the grid wraps around."""
    corners = [(z * side + y) * half + x for z, y, x in itertools.product((0, 1), repeat=3)]
    return torch.tensor(corners, device=device, dtype=torch.int32)


def _wrapped(flat: Tensor, side: int, half: int) -> Tensor:
    """Places in the grid with DC first, of places (any shape) in the one with DC at side // 2."""
    x, rest = flat % half, torch.div(flat, half, rounding_mode="floor")
    y, z = rest % side, torch.div(rest, side, rounding_mode="floor")
    return (((z + side // 2) % side) * side + (y + side // 2) % side) * half + x


def _by_cell(cell: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """The cells that hold points, and the matrix (8 cells, Q) that sums by cell and corner.

    Sorting points is eight times less work than sorting the entries of the matrix, which a transposition takes.
    """
    order = torch.argsort(cell)
    cells, counts = torch.unique_consecutive(cell[order], return_counts=True)
    ends = torch.cumsum(counts, 0)
    starts = torch.cat([torch.zeros(1, device=cell.device, dtype=ends.dtype), ends])
    size = len(cell)
    rows = torch.cat([starts[:-1] + corner * size for corner in range(8)] + [torch.tensor([8 * size]).to(starts)])
    matrix = _by_rows(rows.int(), order.int().repeat(8), shares[order].T.reshape(-1), (8 * len(cells), size))
    return cells, matrix


def _by_rows(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A sparse matrix by compressed rows."""
    with warnings.catch_warnings():
        # That they are new in torch is no news to a user.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)
