"""Volumes of noise as back-projections of noise have it, made in Fourier space.

IsoNet back-projects white noise from every tilt, with or without the ramp of filtered back-projection (Liu et al. 2022,
doi 10.1038/s41467-022-33957-8). The transform of a back-projection is that of the projections on their central planes,
whose density falls as 1 / |k|: white noise of each volume's own, times the wedge and a power of |k| across the tilt
axis, is the same noise without projections, and rows along the tilt axis stay independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ..wedge import Wedge, frequencies

NoiseMode = Literal["noFilter", "ramp", "hamming"]
_POWER = {"noFilter": -0.5, "ramp": 0.5, "hamming": 0.5}
_NYQUIST = 0.5


def noise_weight(mode: NoiseMode, wedge: Wedge, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Amplitude of the noise by frequency across the tilt axis, (z, 1, x // 2 + 1) of a volume (z, y, x).

    Parameters
    ----------
    mode
        noFilter: |k| ** -0.5; ramp: |k| ** 0.5; hamming: the ramp times Hamming's window, .54 + .46 cos(pi |k| / .5).
    wedge
        What was measured.
    shape, device
        Of the volume.
    """
    kz, _, kx = frequencies(shape, device)
    radius = torch.hypot(kz, kx)
    inside = (radius > 0) & (radius <= _NYQUIST + 1e-6)
    amplitude = radius.clamp(min=1e-9) ** _POWER[mode]
    if mode == "hamming":
        amplitude = amplitude * (0.54 + 0.46 * torch.cos(math.pi * radius / _NYQUIST))
    return amplitude * inside * wedge.at(kz.expand_as(radius), kx.expand_as(radius))


def noise_volumes(count: int, side: int, weight: Tensor, generator: torch.Generator) -> Tensor:
    """Volumes (count, side, side, side) of mean 0 and deviation 1 each, on the device of the weight.

    Parameters
    ----------
    count, side
        How many, and how large.
    weight
        (side, 1, side // 2 + 1), of `noise_weight`.
    generator
        On the CPU, so that the same numbers come on every device.
    """
    white = torch.randn((count, side, side, side), generator=generator).to(weight.device)
    spectra = torch.fft.rfftn(white, dim=(-3, -1))
    coloured: Tensor = torch.fft.irfftn(spectra * weight, s=(side, side), dim=(-3, -1))
    return coloured / coloured.std(dim=(-3, -2, -1), keepdim=True, correction=0).clamp(min=1e-20)


def level_at(iteration: int, levels: Sequence[float], starts: Sequence[int]) -> float:
    """How strong the noise is in an iteration, counted from 1, as a part of the data's deviation.

    Parameters
    ----------
    iteration
        Which one.
    levels, starts
        The level from each of these iterations on; 0 before the first.
    """
    begun = [(start, level) for start, level in zip(starts, levels, strict=True) if start <= iteration]
    return max(begun)[1] if begun else 0.0
