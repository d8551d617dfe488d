"""Which Fourier voxels of a tomogram were measured: those that some tilt's central plane passes.

Axes are (z, y, x); the beam is z and the tilt axis y. A tilt angle t measures the plane that holds the y axis and the
direction (x, z) = (cos t, sin t), so what is measured lies at t = atan(kz / kx) (the central section theorem; Crowther,
DeRosier & Klug, Proc. R. Soc. A 1970, doi 10.1098/rspa.1970.0119). Frequencies are in cycles per voxel, spectra are the
halves that `rfftn` gives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor

Shape = Sequence[int]
_GAP = 1.5
"""Neighbouring tilts that are farther apart than so many usual steps have an image missing between them."""


@dataclass(frozen=True)
class Wedge:
    """The measured sectors of the plane of x and z.

    Attributes
    ----------
    sectors_deg
        Angles from and to, ascending and apart, within -90 to 90.
    edge_deg
        Over so many degrees about the end of a sector the weight falls from 1 to 0; 0 for a sharp end.
    """

    sectors_deg: tuple[tuple[float, float], ...] = ((-60.0, 60.0),)
    edge_deg: float = 0.0

    def __post_init__(self) -> None:
        ends = [end for sector in self.sectors_deg for end in sector]
        if not ends or ends != sorted(ends) or ends[0] < -90 or ends[-1] > 90:
            raise ValueError(f"sectors must be ascending angles within -90 and 90 degrees, got {self.sectors_deg}")
        if self.edge_deg < 0:
            raise ValueError(f"the edge of a sector is {self.edge_deg} degrees; it must be 0 or more")

    @classmethod
    def of_range(cls, minimum_deg: float = -60.0, maximum_deg: float = 60.0, edge_deg: float = 0.0) -> Wedge:
        """All angles between two tilts."""
        return cls(((minimum_deg, maximum_deg),), edge_deg)

    @classmethod
    def of_tilts(cls, angles_deg: Sequence[float]) -> Wedge:
        """The sectors of a list of tilts: each stands for half a step to both sides, and a missing one leaves a gap.

        Raises
        ------
        ValueError
            If there are fewer than two tilts, or one is beyond 90 degrees.
        """
        angles = sorted({round(angle, 3) for angle in angles_deg})
        if len(angles) < 2:
            raise ValueError(f"{len(angles)} tilts make no tomogram")
        step = median(b - a for a, b in pairwise(angles))
        sectors: list[list[float]] = []
        for angle in angles:
            if sectors and angle - step / 2 <= sectors[-1][1] + (_GAP - 1) * step:
                sectors[-1][1] = min(90.0, angle + step / 2)
            else:
                sectors.append([max(-90.0, angle - step / 2), min(90.0, angle + step / 2)])
        return cls(tuple((low, high) for low, high in sectors), edge_deg=step / 2)

    @property
    def is_symmetric(self) -> bool:
        """Whether a mirror of z changes nothing."""
        mirrored = tuple((-high, -low) for low, high in reversed(self.sectors_deg))
        pairs = zip(self.sectors_deg, mirrored, strict=True)
        return all(math.isclose(a, b, abs_tol=0.05) for one, other in pairs for a, b in zip(one, other, strict=True))

    @property
    def measured_share(self) -> float:
        """Of all directions in the plane of x and z."""
        return sum(high - low for low, high in self.sectors_deg) / 180.0

    def without(self, low_deg: float, high_deg: float) -> Wedge:
        """What is left of the sectors when an angular sector is taken out.

        Raises
        ------
        ValueError
            If nothing is left.
        """
        left = []
        for low, high in self.sectors_deg:
            if low < min(high, low_deg):
                left.append((low, min(high, low_deg)))
            if max(low, high_deg) < high:
                left.append((max(low, high_deg), high))
        return Wedge(tuple(left), self.edge_deg)

    def at(self, kz: Tensor, kx: Tensor) -> Tensor:
        """The weight at frequencies, in [0, 1]; 1 on the y axis, which every tilt measures.

        Parameters
        ----------
        kz, kx
            Frequencies of any one shape; (kz, kx) and (-kz, -kx) have the same weight.
        """
        angle = torch.rad2deg(torch.atan2(torch.where(kx < 0, -kz, kz), kx.abs()))
        weight = torch.zeros_like(angle)
        for low, high in self.sectors_deg:
            inside = torch.minimum(angle - low, high - angle)
            if high >= 90 or low <= -90:
                # The sector goes on at the other end of the half circle.
                inside = torch.where(angle.abs() > 89.999, torch.full_like(inside, 90.0), inside)
            if self.edge_deg > 0:
                weight = torch.maximum(weight, (inside / self.edge_deg + 0.5).clamp(0, 1))
            else:
                weight = torch.maximum(weight, (inside >= -1e-4).to(angle.dtype))
        return torch.where((kz.abs() < 1e-9) & (kx.abs() < 1e-9), torch.ones_like(weight), weight)


def frequencies(shape: Shape, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """Frequencies kz (z, 1, 1), ky (1, y, 1) and kx (1, 1, x // 2 + 1) of a volume's half spectrum."""
    z, y, x = shape
    kz = torch.fft.fftfreq(z, device=device)[:, None, None]
    ky = torch.fft.fftfreq(y, device=device)[None, :, None]
    return kz, ky, torch.fft.rfftfreq(x, device=device)[None, None, :]


def wedge_weight(wedge: Wedge, shape: Shape, turn: Tensor | None = None, device: torch.device | str = "cpu") -> Tensor:
    """The weight of every Fourier voxel of a volume, (z, y, x // 2 + 1).

    Parameters
    ----------
    wedge
        Of the tomogram.
    shape
        Of the volume.
    turn
        A rotation matrix (3, 3) in (z, y, x): the weight is then that of a volume whose content was turned by it.
    device
        To compute on.

    Returns
    -------
    Tensor
        Hermitian: on a Nyquist plane, where both signs of a frequency share a voxel, the smaller of their weights.
    """
    kz, ky, kx = frequencies(shape, device)
    folded = [_other_sign(k) for k in (kz, ky, kx)]
    return torch.minimum(_turned(wedge, (kz, ky, kx), turn), _turned(wedge, (folded[0], folded[1], folded[2]), turn))


def filtered(volume: Tensor, weight: Tensor) -> Tensor:
    """A real volume (..., z, y, x) times a weight of its half spectrum (z, y, x // 2 + 1)."""
    shape = volume.shape[-3:]
    result: Tensor = torch.fft.irfftn(torch.fft.rfftn(volume, dim=(-3, -2, -1)) * weight, s=shape, dim=(-3, -2, -1))
    return result


def _turned(wedge: Wedge, axes: tuple[Tensor, Tensor, Tensor], turn: Tensor | None) -> Tensor:
    shape = [max(sides) for sides in zip(*(axis.shape for axis in axes), strict=True)]
    kz, ky, kx = (axis.expand(shape) for axis in axes)
    if turn is None:
        return wedge.at(kz, kx)
    # A volume turned by R has the spectrum F(R^T k); R^T k is k R written as a row.
    back = turn.to(kz.device, kz.dtype)
    z = kz * back[0, 0] + ky * back[1, 0] + kx * back[2, 0]
    x = kz * back[0, 2] + ky * back[1, 2] + kx * back[2, 2]
    return wedge.at(z, x)


def _other_sign(frequency: Tensor) -> Tensor:
    """Frequencies of one axis, with those at Nyquist taken at the other sign."""
    return torch.where(frequency.abs() == 0.5, -frequency, frequency)
