"""How much of each Fourier voxel of two half-maps is signal: told by their noise where that tells it, else by the FSC.

Half-maps that a program has regularised, filtered or masked have noise that says something else: its power falls where
there were few data. Then the FSC that the noise foretells for a direction is not the one that is measured there. Such
half-maps carry their filter already, and filtering them again would take away what little they have left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..directional import (
    HALF_ANGLE_DEG,
    MOST_SIGNAL,
    conical_fsc,
    fraction_of_signal,
    fsc3d,
    mean_phase_cosine,
    sampling_from_noise,
)
from ..fourier import (
    check_same_box,
    crop_spectrum,
    fibonacci_directions,
    frequency_axes,
    friedel_weights,
    pad_spectrum,
    radius,
    resample,
    shell_index,
)
from ..volume import symmetrise_spectrum
from .sight import resampled_spectrum, sight_box

ToldBy = Literal["noise", "fsc", "given"]
_Pair = tuple[Tensor, Tensor]
_DIRECTIONS = 60
_AT_ONCE = 10
_SMALLEST_BOX = 16  # below it a crop saves nothing
_FIRST_SHELL = 4
_LEAST_CORRELATION = 0.5
_MOST_SLOPE = 1.9
_EVEN = 0.05
"""Ours, from 60 simulated pairs of random objects and five of proteins: where halves are not regularised, areas under
the measured FSC follow those foretold with a slope of 0.7 to 1.9 and mostly a correlation above 0.7; where they are,
the correlation is mostly negative, or the slope above 2.5. Areas that differ by less are as good as even."""


@dataclass(frozen=True)
class SignalShare:
    """How much of each Fourier voxel is signal.

    fraction
        (n, n, n // 2 + 1) in [0, 1), f = SNR / (1 + SNR) of one half-map.
    filtered
        Whether the half-maps carry a Wiener filter already.
    told_by
        The halves' noise, their FSC in cones of 20 degrees, or the caller.
    """

    fraction: Tensor
    filtered: bool
    told_by: ToldBy


def signal_share(
    halves: tuple[Tensor, Tensor], mask: Tensor | None, limit_shell: int, rotations: Tensor | None = None
) -> SignalShare:
    """Tell how much of each Fourier voxel is signal.

    All is done in the smallest box that holds the shells that count.

    Parameters
    ----------
    halves
        (n, n, n) each.
    mask
        (n, n, n), or None.
    limit_shell
        First shell that does not count, and is 0 in the result.
    rotations
        Point group (g, 3, 3) that the sampling has, or None.
    """
    n = check_same_box(*halves)
    plain, masked = _cropped(halves, mask, _enough(n, limit_shell))
    fraction = _told_by_noise(plain, masked, limit_shell)
    if fraction is not None:
        fraction = _symmetric(fraction, limit_shell, rotations)
        if agrees_by_direction(fraction, masked, None, limit_shell):
            return SignalShare(_in_box(fraction, n), filtered=False, told_by="noise")
    measured = fsc3d(*masked, limit_shell=limit_shell, form="sum_ratio").clamp(0.0, MOST_SIGNAL)
    return SignalShare(_in_box(_symmetric(measured, limit_shell, rotations), n), filtered=True, told_by="fsc")


def _enough(n: int, limit_shell: int) -> int:
    """Box, at most n, that holds every shell that counts whole: what lies beyond takes most of the voxels."""
    return min(n, max(2 * limit_shell, _SMALLEST_BOX))


def _cropped(halves: tuple[Tensor, Tensor], mask: Tensor | None, m: int) -> tuple[_Pair, _Pair]:
    """Both half-maps in a smaller box (m, m, m), as they are and under the mask; their means are taken off."""
    plain, masked = [], []
    for half in halves:
        level = half.float() - half.float().mean()
        plain.append(resample(level, m))
        # A mask brings something from beyond the limit into the shells within, so it comes before the crop.
        masked.append(plain[-1] if mask is None else resample(level * mask, m))
    return (plain[0], plain[1]), (masked[0], masked[1])


def _told_by_noise(plain: _Pair, masked: _Pair, limit_shell: int) -> Tensor | None:
    try:
        sampling = sampling_from_noise(*plain, limit_shell)
    except ValueError:
        return None
    return fraction_of_signal(sampling, mean_phase_cosine(*masked), limit_shell)


def _symmetric(fraction: Tensor, limit_shell: int, rotations: Tensor | None) -> Tensor:
    """Averaged over a point group; what that carries beyond the limit is left out."""
    if rotations is None:
        return fraction
    return symmetrise_spectrum(fraction, rotations) * (shell_index(fraction.shape[0], fraction.device) < limit_shell)


def _in_box(fraction: Tensor, n: int) -> Tensor:
    """A fraction that is 0 beyond the limit, in the half-maps' own box, (n, n, n // 2 + 1)."""
    m = fraction.shape[0]
    return fraction if m == n else pad_spectrum(crop_spectrum(fraction, m - 1), n)


def agrees_by_direction(fraction: Tensor, halves: tuple[Tensor, Tensor], mask: Tensor | None, limit_shell: int) -> bool:
    """Whether directions that are said to be measured better are: areas under the foretold and the measured FSC.

    Both in cones of 20 degrees about directions spread evenly. They must correlate over directions, and the measured
    must not differ much more than the foretold; where both are even, they agree.

    Parameters
    ----------
    fraction
        (n, n, n // 2 + 1), whose mean in a cone foretells the FSC there.
    halves, mask
        (n, n, n); the mask may be None.
    limit_shell
        First shell that does not count.
    """
    n = fraction.shape[0]
    m = sight_box(n, limit_shell - 1) // 2 * 2 - 1
    window = torch.ones_like(halves[0]) if mask is None else mask
    first, second = (resample(half * window, m) for half in halves)
    vectors = fibonacci_directions(_DIRECTIONS, fraction.device)
    measured = conical_fsc(first, second, vectors, half_angle_deg=HALF_ANGLE_DEG)
    shells = slice(_FIRST_SHELL, min(limit_shell, m // 2 + 1))
    there = measured[:, shells].mean(1)
    foretold = mean_in_cones(resampled_spectrum(fraction, m), vectors, shells.stop)
    if float(foretold.std()) < _EVEN and float(there.std()) < _EVEN:
        return True
    a, b = foretold - foretold.mean(), there - there.mean()
    correlation = float((a * b).mean() / (a.square().mean() * b.square().mean()).sqrt().clamp(min=1e-12))
    slope = float((a * b).mean() / a.square().mean().clamp(min=1e-12))
    return correlation >= _LEAST_CORRELATION and slope <= _MOST_SLOPE


def mean_in_cones(values: Tensor, vectors: Tensor, limit_shell: int) -> Tensor:
    """Mean over shells of the mean of (m, m, m // 2 + 1) in 20 degree cones about directions (d, 3), (d,)."""
    m = values.shape[0]
    distance = radius(m, values.device)
    counted = (distance >= _FIRST_SHELL) & (shell_index(m, values.device) < limit_shell)
    # A shell has voxels as the square of its radius: divided by that, every shell counts alike.
    weight = (friedel_weights(m, values.device) / distance.clamp(min=1.0).square())[counted].double()
    axes = torch.stack([axis.expand(values.shape)[counted] for axis in frequency_axes(m, values.device)])
    directions = axes / distance[counted]
    weighted = torch.stack([values[counted].double() * weight, weight], dim=1)
    found = []
    for some in torch.split(vectors, _AT_ONCE):
        member = ((some @ directions).abs() >= math.cos(math.radians(HALF_ANGLE_DEG))).double()
        total, count = (member @ weighted).unbind(1)
        found.append(total / count)
    return torch.cat(found)
