"""Spherical shells of the half-spectrum: which voxel is in which shell, sums and means over shells, and back.

Shell i holds the voxels whose radius rounds to i (as RELION and the FSC do) or, where a published method asks for
it, whose radius has i as its floor. Curves have n//2+1 entries, shells 0 to n//2; voxels further out
(the corners of the cube) belong to no shell. Sums are in float64 and over the full spectrum: a voxel of the
half-spectrum counts for itself and its Friedel mate. The weighting "stored" counts every stored voxel once, as
RELION's own loops do, which gives the plane kx = 0 double weight.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from .transforms import check_spectrum, friedel_weights, squared_radius

Rounding = Literal["nearest", "floor"]
Weighting = Literal["friedel", "stored"]

_SAME_RESOLUTION = 2e-5
"""Relative; what four decimals cost a resolution of 2.5 A."""


def shell_index(n: int, device: torch.device | str | None = None, rounding: Rounding = "nearest") -> Tensor:
    """Shell of every half-spectrum voxel, int64 (n, n, n//2+1), corners included (up to about 0.87 n).

    Exact: the squared radius is an integer, so no radius ever lies on the border between two nearest shells.
    """
    root = squared_radius(n, device).double().sqrt()
    if rounding == "nearest":
        root = root.round()
    elif rounding != "floor":
        raise ValueError(f"rounding must be 'nearest' or 'floor', got {rounding!r}")
    return root.long()


def radial_sum(
    values: Tensor,
    n: int,
    *,
    rounding: Rounding = "nearest",
    index: Tensor | None = None,
    weighting: Weighting = "friedel",
) -> Tensor:
    """Sum over each shell: real (..., n, n, n//2+1) -> float64 (..., n//2+1).

    `index` is the result of `shell_index` for this n and rounding, for callers that sum several times.
    """
    check_spectrum(values, n)
    if values.is_complex():
        raise ValueError("radial sums are of real values; pass the real and imaginary parts one by one")
    if index is None:
        index = shell_index(n, values.device, rounding)
    flat_index = index.reshape(-1)
    length = n // 2 + 1
    weights = torch.ones(length, device=values.device, dtype=torch.float64)
    if weighting == "friedel":
        weights = friedel_weights(n, values.device, torch.float64)
    longest = int(flat_index.max()) + 1
    sums = [
        torch.bincount(flat_index, (one.double() * weights).reshape(-1), minlength=longest)[:length]
        for one in values.reshape(-1, n, n, length)
    ]
    return torch.stack(sums).view(*values.shape[:-3], length)


def shell_counts(n: int, device: torch.device | str | None = None, rounding: Rounding = "nearest") -> Tensor:
    """Voxels of the full spectrum in each shell, float64 (n//2+1,)."""
    ones = torch.ones((n, n, n // 2 + 1), device=device)
    return radial_sum(ones, n, rounding=rounding)


def radial_mean(values: Tensor, n: int, *, rounding: Rounding = "nearest", index: Tensor | None = None) -> Tensor:
    """Mean over the full spectrum of each shell: real (..., n, n, n//2+1) -> float64 (..., n//2+1)."""
    if index is None:
        index = shell_index(n, values.device, rounding)
    counts = radial_sum(torch.ones((n, n, n // 2 + 1), device=values.device), n, index=index)
    return radial_sum(values, n, index=index) / counts


def expand(
    curve: Tensor,
    n: int,
    *,
    rounding: Rounding = "nearest",
    beyond: float = 0.0,
    index: Tensor | None = None,
) -> Tensor:
    """Give every half-spectrum voxel its shell's value: (n//2+1,) -> (n, n, n//2+1), of the curve's dtype.

    Voxels beyond shell n//2 get `beyond`.
    """
    if tuple(curve.shape) != (n // 2 + 1,):
        raise ValueError(f"box {n} needs a curve of {n // 2 + 1} shells, got shape {tuple(curve.shape)}")
    if index is None:
        index = shell_index(n, curve.device, rounding)
    table = torch.cat([curve, curve.new_full((1,), beyond)])
    return table[index.clamp(max=n // 2 + 1)]


def shell_of_resolution(n: int, voxel_size_A: float, resolution_A: float) -> float:
    """Fourier radius in pixels (a real number) of a resolution in Angstrom: n * voxel size / resolution.

    A resolution that was read off a shell gives back that very shell, as a whole number: what the voxel size of a
    header (float32) or a resolution written with four decimals is off by must not cost a shell, whichever way
    the caller rounds. Whoever turns a resolution into a shell asks here.
    """
    if voxel_size_A <= 0 or resolution_A <= 0:
        raise ValueError(f"voxel size ({voxel_size_A} A) and resolution ({resolution_A} A) must be positive")
    shell = n * voxel_size_A / resolution_A
    nearest = round(shell)
    return float(nearest) if math.isclose(shell, nearest, rel_tol=_SAME_RESOLUTION) else shell


def last_shell(n: int, voxel_size_A: float, resolution_A: float) -> int:
    """The last shell of a box of n voxels within a resolution limit in Angstrom.

    At most the last that the grid holds with both signs, (n - 1) // 2: nothing is measured in directions beyond.
    """
    return min(math.floor(shell_of_resolution(n, voxel_size_A, resolution_A)), (n - 1) // 2)


def limit_shell(n: int, voxel_size_A: float, resolution_A: float) -> int:
    """The first shell that is left out of what goes up to a resolution limit in Angstrom: one after the last."""
    return last_shell(n, voxel_size_A, resolution_A) + 1


def within_limit(n: int, voxel_size_A: float, resolution_A: float, device: torch.device | str | None = None) -> Tensor:
    """1 in the shells up to a resolution limit in Angstrom, 0 beyond; (n, n, n // 2 + 1)."""
    return (shell_index(n, device) <= last_shell(n, voxel_size_A, resolution_A)).float()
