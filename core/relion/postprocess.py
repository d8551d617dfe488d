"""Sharpening of a finished reconstruction: resolution by the mask-corrected FSC, FSC weighting, B-factor, low-pass.

The steps and their order are those of `relion_postprocess`, without its division by a detector's MTF. The B-factor has
RELION's sign: negative sharpens.

References
----------
Rosenthal & Henderson 2003, doi 10.1016/j.jmb.2003.07.013 (weighting, B-factor); Chen et al. 2013,
doi 10.1016/j.ultramic.2013.06.004 (mask-corrected FSC).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..fourier import (
    CorrectedFsc,
    box_size,
    corrected_fsc,
    dips,
    expand,
    forward,
    fsc,
    inverse,
    lowpass_raised_cosine,
    masked,
    radial_mean,
    radius,
    resolution,
    resolution_shell,
    shell_index,
    shell_of_resolution,
)

Sharpening = Literal["b_factor", "flatten", "none"]

_FEWEST_SHELLS = 3
_NO_SIGNAL = 1e-4  # as RELION: from the first shell whose FSC is lower on, nothing is kept


@dataclass(frozen=True)
class Line:
    """A straight line through a Guinier plot: ln amplitude = intercept + slope (A^2) / d^2."""

    slope: float
    intercept: float
    r_squared: float


@dataclass(frozen=True)
class Guinier:
    """Logarithms of mean amplitudes of the shells 1 to n//2 over 1/d^2 (1/A^2), each float64 (n//2,).

    Of the average of the halves, after weighting, and after sharpening but before the low-pass; NaN in shells
    without amplitude. `line` goes through the weighted points, where one was fitted.
    """

    inverse_d2: Tensor
    averaged: Tensor
    weighted: Tensor
    sharpened: Tensor
    line: Line | None


@dataclass(frozen=True)
class Agreement:
    """How well two half-maps agree.

    `used` is the curve (n//2+1,) to read resolution and weights from: the corrected one, or the unmasked one where
    there is no mask or where the mask makes the resolution worse (`mask_hurts`).
    """

    curves: CorrectedFsc
    used: Tensor
    mask_hurts: bool


@dataclass(frozen=True)
class Sharpened:
    """A sharpened map (n, n, n), not masked, and how it was made; `b_factor_A2` is None where none was applied."""

    volume: Tensor
    resolution_A: float
    low_pass_A: float
    b_factor_A2: float | None
    guinier: Guinier


def agreement(
    half1: Tensor, half2: Tensor, mask: Tensor | None, *, randomise_below: float = 0.8, seed: int = 0
) -> Agreement:
    """Compare two unfiltered half-maps (n, n, n), with a mask (n, n, n) from 0 to 1 if there is one.

    `randomise_below` and `seed` are those of `corrected_fsc`.
    """
    if mask is None:
        curve = fsc(half1, half2)
        return Agreement(CorrectedFsc(curve, curve, torch.zeros_like(curve), curve, None), curve, False)
    curves = corrected_fsc(half1, half2, mask, seed, randomise_below=randomise_below)
    hurts = resolution_shell(curves.unmasked) > resolution_shell(curves.corrected)
    return Agreement(curves, curves.unmasked if hurts else curves.corrected, hurts)


def sharpen(
    average: Tensor,
    curve: Tensor,
    voxel_size_A: float,
    *,
    sharpening: Sharpening = "b_factor",
    b_factor_A2: float | None = None,
    fit_from_A: float = 10.0,
    fit_to_A: float | None = None,
    low_pass_A: float | None = None,
    mask: Tensor | None = None,
) -> Sharpened:
    """Weight the average of two half-maps by their FSC, sharpen it, and low-pass it.

    Parameters
    ----------
    average
        Mean of the unfiltered half-maps, (n, n, n).
    curve
        FSC between the half-maps, (n//2+1,). It must come from halves that are independent of each other.
    voxel_size_A
        Voxel size.
    sharpening
        "b_factor": by one B-factor. "flatten": mean amplitudes made level from `fit_from_A` to the resolution. "none".
        In each case shells are weighted by sqrt(2 FSC / (1 + FSC)) before, the expected correlation of the average
        with the truth.
    b_factor_A2
        B-factor, negative sharpens (`--adhoc_bfac`); None: from the slope of the Guinier plot (`--auto_bfac`).
    fit_from_A, fit_to_A
        Range of the line; it ends at the resolution if `fit_to_A` is None. RELION's own default is to go on for as
        long as the FSC is positive: give two voxels as `fit_to_A` for that.
    low_pass_A
        Where the final raised cosine, two shells wide, is centred; at the resolution if None.
    mask
        (n, n, n); "flatten" levels the spectrum inside it.

    Raises
    ------
    ValueError
        When the curve is below 0.143 from shell 1 on, or when too few shells are left to fit or to level.
    """
    n = box_size(average)
    limit_A = _resolution(curve, voxel_size_A, n)
    spectrum, guinier, index = _weigh(average, curve, voxel_size_A)
    if sharpening == "b_factor":
        if b_factor_A2 is None:
            line = fit_line(guinier.inverse_d2, guinier.weighted, fit_from_A, limit_A if fit_to_A is None else fit_to_A)
            guinier, b_factor_A2 = replace(guinier, line=line), 4.0 * line.slope
        spectrum = spectrum * b_factor_gain(n, voxel_size_A, b_factor_A2, average.device).to(average.dtype)
    elif sharpening == "flatten":
        first = math.ceil(shell_of_resolution(n, voxel_size_A, fit_from_A))
        spectrum = _flatten(spectrum, first, resolution_shell(curve), mask, index)
    low_pass_A = limit_A if low_pass_A is None else low_pass_A
    return Sharpened(
        volume=lowpass_raised_cosine(inverse(spectrum, n), voxel_size_A, low_pass_A),
        resolution_A=limit_A,
        low_pass_A=low_pass_A,
        b_factor_A2=b_factor_A2 if sharpening == "b_factor" else None,
        guinier=replace(guinier, sharpened=_log_amplitudes(spectrum, n, index)),
    )


def fsc_weights(curve: Tensor) -> Tensor:
    """sqrt(2 FSC / (1 + FSC)) per shell, float64 (n//2+1,), 0 from the first shell without signal on.

    A dip before the resolution is weighted for what it is, and does not end the map.
    """
    curve = curve.double().clone()
    curve[0] = 1.0  # where the halves' means differ in sign, shell 0 has an FSC of -1: it says nothing of the signal
    for first, last in dips(curve):
        curve[first : last + 1] = curve[first : last + 1].clamp(min=_NO_SIGNAL)
    alive = (curve < _NO_SIGNAL).cumsum(0) == 0
    return torch.where(alive, 2.0 * curve / (1.0 + curve), 0.0).sqrt()


def fit_line(inverse_d2: Tensor, log_amplitude: Tensor, from_A: float, to_A: float) -> Line:
    """Least-squares line through the points (k,) of a Guinier plot between two resolutions, ends included."""
    # A resolution is often that of a shell exactly: rounding must not cost the fit its last point.
    used = (inverse_d2 >= (1 - 1e-6) / from_A**2) & (inverse_d2 <= (1 + 1e-6) / to_A**2) & log_amplitude.isfinite()
    x, y = inverse_d2[used], log_amplitude[used]
    if x.numel() < _FEWEST_SHELLS:
        raise ValueError(
            f"a B-factor cannot be fitted to the {x.numel()} shells between {from_A:g} and {to_A:.2f} A; "
            "give a B-factor, or start the fit at a coarser resolution"
        )
    dx, dy = x - x.mean(), y - y.mean()
    slope = float((dx * dy).sum() / dx.square().sum())
    spread = float(dy.square().sum())
    r_squared = slope**2 * float(dx.square().sum()) / spread if spread > 0 else 1.0
    return Line(slope, float(y.mean()) - slope * float(x.mean()), r_squared)


def b_factor_gain(n: int, voxel_size_A: float, b_factor_A2: float, device: torch.device | str | None = None) -> Tensor:
    """exp(-B / (4 d^2)) of every voxel of the half-spectrum, float32 (n, n, n//2+1)."""
    return torch.exp((radius(n, device) / (n * voxel_size_A)).square() * (-b_factor_A2 / 4.0))


def flattening_curve(spectrum: Tensor, n: int, first: int, last: int, mask: Tensor | None = None) -> Tensor:
    """Gain per shell, float64 (n//2+1,), that levels the mean amplitudes of the masked map from shell to shell.

    1 up to the first shell; the last shell's gain beyond. For an FSC-weighted spectrum this is: raise the expected
    signal to one level, then weight it. `spectrum` is the map's before the mask.
    """
    if last - first + 1 < _FEWEST_SHELLS:
        raise ValueError(
            f"a spectrum cannot be levelled over the {max(0, last - first + 1)} shells between shell {first} and the "
            f"resolution at shell {last}; start at a coarser resolution"
        )
    if mask is not None:
        spectrum = forward(masked(inverse(spectrum, n), mask))
    amplitude = radial_mean(spectrum.abs(), n)
    gain = amplitude[first] / amplitude.clamp(min=torch.finfo(torch.float64).tiny)
    gain[:first] = 1.0
    gain[last + 1 :] = gain[last]
    return gain


def _resolution(curve: Tensor, voxel_size_A: float, n: int) -> float:
    limit_A = resolution(curve, voxel_size_A, box=n)
    if math.isinf(limit_A):
        raise ValueError("the two half-maps agree at no resolution (FSC below 0.143 in shell 1)")
    return limit_A


def _weigh(average: Tensor, curve: Tensor, voxel_size_A: float) -> tuple[Tensor, Guinier, Tensor]:
    """Half-spectrum of the average weighted by the FSC, its Guinier plot before any sharpening, its voxels' shells."""
    n = box_size(average)
    index = shell_index(n, average.device)
    spectrum = forward(average)
    averaged = _log_amplitudes(spectrum, n, index)
    spectrum = spectrum * expand(fsc_weights(curve).to(average.dtype), n, index=index)
    weighted = _log_amplitudes(spectrum, n, index)
    inverse_d2 = (torch.arange(1, n // 2 + 1, device=average.device).double() / (n * voxel_size_A)).square()
    return spectrum, Guinier(inverse_d2, averaged, weighted, sharpened=weighted, line=None), index


def _flatten(spectrum: Tensor, first: int, last: int, mask: Tensor | None, index: Tensor) -> Tensor:
    n = int(spectrum.shape[0])
    level = flattening_curve(spectrum, n, first, last, mask)
    return spectrum * expand(level.to(spectrum.real.dtype), n, index=index)


def _log_amplitudes(spectrum: Tensor, n: int, index: Tensor) -> Tensor:
    amplitude = radial_mean(spectrum.abs(), n, index=index)[1:]
    return torch.where(amplitude > 0, amplitude.log(), math.nan)
