"""Shells of the spectrum of a volume of any three sides, and curves over them that fit any other volume.

Frequencies are in cycles per voxel, and a shell is 1/64 wide, so that 32 of them reach Nyquist whatever the volume's
sides. Spectra are the halves that `rfftn` gives, (..., z, y, x // 2 + 1); sums are over the whole spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .wedge import frequencies

WIDTH = 1 / 64
COUNT = 32
"""Shells up to Nyquist; what is beyond, in the corners, belongs to none."""


@dataclass(frozen=True)
class Curve:
    """One value a shell, (32,) float64 on the CPU; the middle of shell i is at (i + 1/2) / 64 cycles per voxel."""

    values: Tensor

    def at(self, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
        """The curve at every voxel of a half spectrum, (z, y, x // 2 + 1) float32; 0 beyond Nyquist.

        Linear between the middles of shells, and the last value on to Nyquist.
        """
        return self.of(radius(shape, device))

    def of(self, radii: Tensor) -> Tensor:
        """The curve at some frequencies (...,), float32."""
        values = self.values.to(radii.device, torch.float32)
        place = (radii / WIDTH - 0.5).clamp(0, COUNT - 1)
        low = place.long().clamp(max=COUNT - 2)
        found = torch.lerp(values[low], values[low + 1], place - low)
        return torch.where(radii <= 0.5, found, torch.zeros_like(found))

    def last_above(self, level: float) -> float:
        """The frequency at which the curve first falls below a level and stays there for two shells; 0.5 if never."""
        below = self.values < level
        for shell in range(COUNT - 1):
            if bool(below[shell]) and bool(below[shell + 1]):
                return shell * WIDTH
        return 0.5


@dataclass
class CrossPower:
    """Sums over shells of two spectra, from any number of volumes.

    Attributes
    ----------
    cross, first, second
        Sums of Re(a b*), |a|^2 and |b|^2, (32,) float64.
    """

    cross: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def none(cls) -> CrossPower:
        """Nothing yet."""
        return cls(*(torch.zeros(COUNT, dtype=torch.float64) for _ in range(3)))

    def add(self, first: Tensor, second: Tensor, shape: Sequence[int], weight: Tensor | None = None) -> None:
        """Add half spectra (nz, ny, nx // 2 + 1) of two volumes, each voxel as often as a weight of that shape says."""
        counts = shares(shape, first.device)
        counts = counts if weight is None else counts * weight
        index = shell_index(shape, first.device)
        for total, product in (
            (self.cross, (first * second.conj()).real),
            (self.first, first.abs().square()),
            (self.second, second.abs().square()),
        ):
            total += summed(product * counts, index)

    def correlation(self) -> Curve:
        """The Fourier shell correlation; 0 in shells that hold nothing."""
        return Curve(self.cross / (self.first * self.second).sqrt().clamp(min=1e-30))


def radius(shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """The frequency of every voxel of a half spectrum, (z, y, x // 2 + 1), cycles per voxel."""
    kz, ky, kx = frequencies(shape, device)
    return (kz.square() + ky.square() + kx.square()).sqrt()


def shell_index(shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """The shell of every voxel of a half spectrum, (nz, ny, nx // 2 + 1) int64; 32 where it is in none, as DC is."""
    distance = radius(shape, device)
    index = (distance / WIDTH).long().clamp(max=COUNT)
    return torch.where((distance > 0.5) | (distance == 0), torch.full_like(index, COUNT), index)


def shares(shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """How often a voxel of the half spectrum stands in the whole one, (1, 1, x // 2 + 1): once or twice."""
    columns = shape[-1] // 2 + 1
    found = torch.full((columns,), 2.0, device=device)
    found[0] = 1
    if shape[-1] % 2 == 0:
        found[-1] = 1
    return found[None, None, :]


def summed(values: Tensor, index: Tensor) -> Tensor:
    """Sums of real values over shells, (shells,) float64 on the CPU."""
    totals = torch.zeros(COUNT + 1, dtype=torch.float64, device=values.device)
    totals.index_add_(0, index.reshape(-1), values.double().reshape(-1))
    return totals[:COUNT].cpu()


def shell_means(values: Tensor, shape: Sequence[int], weight: Tensor | None = None) -> Curve:
    """Weighted means over shells of real values (nz, ny, nx // 2 + 1); 0 where nothing has weight."""
    counts = shares(shape, values.device).expand(values.shape)
    counts = counts if weight is None else counts * weight
    index = shell_index(shape, values.device)
    return Curve(summed(values * counts, index) / summed(counts, index).clamp(min=1e-30))
