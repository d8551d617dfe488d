"""How much of each Fourier voxel is signal, told by the noise of two half-maps; and whether the noise tells the truth.

Half-maps that a program has regularised, filtered or masked have noise that says something else: its power falls where
there were few data. Then the FSC that the noise foretells for a direction is not the one that is measured there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..directional import conical_fsc, fraction_of_signal, mean_phase_cosine, sampling_from_noise
from ..fourier import fibonacci_directions, frequency_axes, friedel_weights, radius, resample, shell_index
from ..volume import symmetrise_spectrum
from .sight import resampled_spectrum, sight_box

_DIRECTIONS = 60
_AT_ONCE = 10
_FIRST_SHELL = 4
_HALF_ANGLE_DEG = 20.0
_LEAST_CORRELATION = 0.5
_EVEN = 0.05
"""Ours: areas under the FSC that differ by less than this over directions are as good as even."""


def fraction_from_noise(
    halves: tuple[Tensor, Tensor], mask: Tensor | None, limit_shell: int, rotations: Tensor | None = None
) -> Tensor | None:
    """Share of each Fourier voxel's power that is signal, (n, n, n // 2 + 1); None where the noise does not tell it.

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
    first, second = (half.float() - half.float().mean() for half in halves)
    try:
        sampling = sampling_from_noise(first, second, limit_shell)
    except ValueError:
        return None
    fraction = fraction_of_signal(sampling, mean_phase_cosine(first, second, mask), limit_shell)
    if rotations is not None:
        fraction = symmetrise_spectrum(fraction, rotations)
    return fraction if agrees_by_direction(fraction, (first, second), mask, limit_shell) else None


def agrees_by_direction(
    fraction: Tensor, halves: tuple[Tensor, Tensor], mask: Tensor | None, limit_shell: int
) -> bool:
    """Whether directions that are said to be measured better are: areas under the foretold and the measured FSC.

    Both in cones of 20 degrees about directions spread evenly. They must correlate over directions; where one of the two
    is even, the other must be too.

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
    measured = conical_fsc(first, second, vectors, half_angle_deg=_HALF_ANGLE_DEG)
    shells = slice(_FIRST_SHELL, min(limit_shell, m // 2 + 1))
    there = measured[:, shells].mean(1)
    foretold = _mean_in_cones(resampled_spectrum(fraction, m), vectors, shells.stop)
    if float(foretold.std()) < _EVEN and float(there.std()) < _EVEN:
        return True
    together = torch.corrcoef(torch.stack([foretold, there]))[0, 1]
    return float(together) >= _LEAST_CORRELATION


def _mean_in_cones(values: Tensor, vectors: Tensor, limit_shell: int) -> Tensor:
    """Mean over shells of the mean of (m, m, m // 2 + 1) in a double cone about each direction (d, 3), float64 (d,)."""
    m = values.shape[0]
    distance = radius(m, values.device)
    counted = (distance >= _FIRST_SHELL) & (shell_index(m, values.device) < limit_shell)
    # A shell has voxels as the square of its radius: divided by that, every shell counts alike.
    weight = (friedel_weights(m, values.device) / distance.clamp(min=1.0).square())[counted].double()
    axes = torch.stack([axis.expand(values.shape)[counted] for axis in frequency_axes(m, values.device)])
    directions = axes / distance[counted]
    weighted = torch.stack([values[counted].double() * weight, weight], dim=1)
    found = []
    for some in vectors.split(_AT_ONCE):
        member = ((some @ directions).abs() >= math.cos(math.radians(_HALF_ANGLE_DEG))).double()
        total, count = (member @ weighted).unbind(1)
        found.append(total / count)
    return torch.cat(found)
