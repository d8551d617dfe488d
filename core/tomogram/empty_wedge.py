"""Where the empty wedge of a tomogram lies, by its own power spectrum: about which axis, and to which side.

A tilt series leaves a double wedge of Fourier space about its tilt axis unmeasured, and there a reconstruction has
hardly any power. So the data themselves tell whether the tilt axis is y, as everything here has it, and whether a range
that is not symmetric about 0 degrees has the right sign; programs and files differ in both.

Axes are (z, y, x); an angle is atan(kz / kx), and atan(kz / ky) where the tilt axis would be x. Frequencies are in
cycles per voxel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

TiltAxis = Literal["y", "x"]

BIN_DEG = 3.0
_LOWEST, _HIGHEST = 0.06, 0.42
"""Below, the window of a cube spreads power over all angles; above there is interpolation of whoever made it."""
_REACH_DEG = 140.0
"""The angle between neighbouring voxels, times the side of the cube: those of the shell at 0.42."""
_MARGIN_DEG = 4.5
_EMPTY = math.log(1.8)
"""By so much, as a logarithm, the measured part must have more power than the rest to be told from it."""
_CLEARLY = math.log(1.5)
_SMALLEST_DIFFERENCE_DEG = 6.0
"""Ranges that differ by less from their mirror cannot be told from it, nor does it matter."""


@dataclass(frozen=True)
class WedgeEvidence:
    """What the power spectrum says.

    Attributes
    ----------
    axis
        The tilt axis; None where no empty wedge is seen, as in a tomogram that was denoised or filled.
    is_turned
        Whether the range lies with the other sign than was said; None where that cannot be told, because the range is
        nearly symmetric or the data say too little.
    contrast
        How many times more power the measured part has than the rest, as a natural logarithm, by axis.
    sides
        How many times more power the side has that only the range as it was said measures than the side that only its
        mirror measures, as a natural logarithm; 0 where there are no such sides.
    """

    axis: TiltAxis | None
    is_turned: bool | None
    contrast: dict[TiltAxis, float]
    sides: float


def wedge_evidence(cubes: Tensor, tilt_min_deg: float = -60.0, tilt_max_deg: float = 60.0) -> WedgeEvidence:
    """Compare the empty wedge of a tomogram with where it should be.

    Parameters
    ----------
    cubes
        (m, n, n, n) parts of one tomogram, (z, y, x), from where there is something to see.
    tilt_min_deg, tilt_max_deg
        The range that was measured, as far as anybody knows; about the tilt axis y.

    Raises
    ------
    ValueError
        If the cubes have fewer than 24 voxels a side, or the range is none.
    """
    if not -90 <= tilt_min_deg < tilt_max_deg <= 90:
        raise ValueError(f"{tilt_min_deg:g} to {tilt_max_deg:g} degrees is no range of tilts")
    spectrum = _power(cubes)
    profiles = {axis: _profile(spectrum, axis) for axis in _AXES}
    contrast = {axis: _contrast(profiles[axis], tilt_min_deg, tilt_max_deg) for axis in _AXES}
    best = max(_AXES, key=lambda axis: contrast[axis])
    other = min(_AXES, key=lambda axis: contrast[axis])
    is_seen = contrast[best] > _EMPTY and contrast[best] - contrast[other] > _CLEARLY
    sides = _sides(profiles["y"], tilt_min_deg, tilt_max_deg) if is_seen and best == "y" else 0.0
    is_turned = None if abs(sides) < _CLEARLY else sides < 0
    return WedgeEvidence(best if is_seen else None, is_turned, contrast, sides)


def angular_power(cubes: Tensor, axis: TiltAxis = "y") -> tuple[Tensor, Tensor]:
    """Mean power by angle about a tilt axis, beside the mean over all angles.

    Parameters
    ----------
    cubes
        As of `wedge_evidence`.

    Returns
    -------
    angles_deg
        (b,) middles of the bins, from -90 to 90.
    power
        (b,) median over the bin of the power divided by the mean of its shell; 1 where every direction is alike.
    """
    return _centres(), _profile(_power(cubes), axis)


_AXES: tuple[TiltAxis, ...] = ("y", "x")


def _power(cubes: Tensor) -> Tensor:
    """The mean power spectrum of windowed cubes, (n, n, n // 2 + 1), divided by the mean of each shell."""
    n = cubes.shape[-1]
    if cubes.ndim != 4 or n < 24 or cubes.shape[1:] != (n, n, n):
        raise ValueError(f"cubes of at least 24 voxels a side are needed, (m, n, n, n), not {tuple(cubes.shape)}")
    window = torch.hann_window(n, periodic=False, device=cubes.device, dtype=torch.float32)
    total = torch.zeros(n, n, n // 2 + 1, device=cubes.device)
    for cube in cubes.float():
        spread = cube.std()
        if spread > 0:
            even = (cube - cube.mean()) / spread
            total += (
                torch.fft.rfftn(even * window[:, None, None] * window[None, :, None] * window[None, None, :])
                .abs()
                .square()
            )
    kz, ky, kx = _frequencies(n, cubes.device)
    shell = ((kz.square() + ky.square() + kx.square()).sqrt() * n).round().long()
    sums = torch.zeros(int(shell.max()) + 1, device=cubes.device).index_add_(0, shell.flatten(), total.flatten())
    counts = torch.bincount(shell.flatten(), minlength=len(sums))
    return total / (sums / counts.clamp(min=1)).clamp(min=torch.finfo(torch.float32).tiny)[shell]


def _profile(spectrum: Tensor, axis: TiltAxis) -> Tensor:
    """The median of the power in each bin of angles; the median, so that a few strong peaks weigh nothing."""
    n = spectrum.shape[0]
    kz, ky, kx = _frequencies(n, spectrum.device)
    across = kx if axis == "y" else ky
    radius = (kz.square() + across.square()).sqrt().expand_as(spectrum)
    whole = (kz.square() + ky.square() + kx.square()).sqrt()
    angle = torch.rad2deg(torch.atan2(torch.where(across < 0, -kz, kz), across.abs())).expand_as(spectrum)
    used = (radius > max(_LOWEST, 4 / n)) & (whole < _HIGHEST)
    values, angles = spectrum[used], angle[used]
    # Voxels of a small cube have few angles, so that a bin takes in its neighbours'.
    reach = max(BIN_DEG / 2, _REACH_DEG / n)
    centres = _centres().to(spectrum.device)
    return torch.stack([values[(angles - centre).abs() <= reach].median() for centre in centres])


def _contrast(profile: Tensor, lowest_deg: float, highest_deg: float) -> float:
    """Logarithm of the power in the measured part over that in the rest; 0 where there is no rest to speak of.

    What lies between a range and its mirror counts for neither, so that a wrong sign does not hide the axis.
    """
    angles = _centres().to(profile.device)
    inner, outer = min(-lowest_deg, highest_deg), max(-lowest_deg, highest_deg)
    inside = angles.abs() < inner - _MARGIN_DEG
    outside = angles.abs() > outer + _MARGIN_DEG
    if int(outside.sum()) < 2 or int(inside.sum()) < 2:
        return 0.0
    return _log_ratio(profile[inside].median(), profile[outside].median())


def _sides(profile: Tensor, lowest_deg: float, highest_deg: float) -> float:
    """Logarithm of the power on the side that only the range itself measures over that which only its mirror does."""
    inner, outer = sorted((abs(lowest_deg), abs(highest_deg)))
    if lowest_deg * highest_deg > 0:
        inner = 0.0
    if outer - inner < _SMALLEST_DIFFERENCE_DEG:
        return 0.0
    angles = _centres().to(profile.device) * (1 if highest_deg > -lowest_deg else -1)
    own = (angles > inner + BIN_DEG / 2) & (angles < outer - BIN_DEG / 2)
    mirrored = (angles < -inner - BIN_DEG / 2) & (angles > -outer + BIN_DEG / 2)
    if not (bool(own.any()) and bool(mirrored.any())):
        return 0.0
    return _log_ratio(profile[own].mean(), profile[mirrored].mean())


def _log_ratio(one: Tensor, other: Tensor) -> float:
    floor = torch.finfo(torch.float32).tiny
    return float((one.clamp(min=floor) / other.clamp(min=floor)).log())


def _centres() -> Tensor:
    return torch.arange(-90 + BIN_DEG / 2, 90, BIN_DEG)


def _frequencies(n: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """kz, ky, kx of the half spectrum, to be broadcast."""
    full, half = torch.fft.fftfreq(n, device=device), torch.fft.rfftfreq(n, device=device)
    return full[:, None, None], full[None, :, None], half[None, None, :]
