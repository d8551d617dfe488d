"""Amplitudes that a correction leaves inside and outside the badly measured directions, shell by shell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..directional import direction_quality
from ..fourier import check_same_box, forward, radial_sum

MOSTLY = 0.5
"""Ours: from here on a direction counts as measured badly, see `directional.direction_quality`."""


@dataclass(frozen=True)
class ShellAmplitudes:
    """Ratios of root mean square amplitudes by shell, float64 (n // 2 + 1,); NaN where there is nothing to compare.

    Attributes
    ----------
    kept_badly, kept_well
        Corrected over measured, in badly and in well measured directions.
    signal_badly, signal_well
        Corrected over the signal that the half-maps hold in their well measured directions. A map of least squared
        error has as much as it correlates with the truth: less than 1 is no fault, more is.
    """

    kept_badly: Tensor
    kept_well: Tensor
    signal_badly: Tensor
    signal_well: Tensor

    def cpu(self) -> ShellAmplitudes:
        """The same on the host, (n // 2 + 1,) each."""
        return ShellAmplitudes(**{name: ratio.cpu() for name, ratio in vars(self).items()})


def amplitudes_by_shell(
    half1: Tensor, half2: Tensor, corrected: Tensor, fsc3d: Tensor, last_shell: int, mask: Tensor | None = None
) -> ShellAmplitudes:
    """Compare amplitudes before and after a correction.

    Parameters
    ----------
    half1, half2, corrected
        Half-maps before the correction and the mean map after it, (n, n, n), on one scale.
    fsc3d
        3DFSC of the half-maps, (n, n, n // 2 + 1), which says where they are measured badly.
    last_shell
        Up to where; NaN beyond.
    mask
        Real-space mask (n, n, n), or None.
    """
    n = check_same_box(half1, corrected)
    quality = direction_quality(fsc3d, last_shell)
    badly = quality.badly[quality.index]
    maps = (half1, half2, (half1 + half2) / 2, corrected)
    first, second, mean, after = (forward(volume if mask is None else volume * mask) for volume in maps)
    ratios = {}
    regions = {"badly": (badly >= MOSTLY).double(), "well": (badly == 0.0).double()}

    def total(one: Tensor, two: Tensor, where: Tensor) -> Tensor:
        return radial_sum((one.real * two.real + one.imag * two.imag).double() * where, n)

    well = regions["well"]
    voxels = {name: radial_sum(where, n) for name, where in regions.items()}
    signal = total(first, second, well) / voxels["well"]
    for name, where in regions.items():
        power = total(after, after, where)
        ratios[f"kept_{name}"] = _root(power, total(mean, mean, where))
        ratios[f"signal_{name}"] = _root(power / voxels[name], signal)
    beyond = torch.arange(n // 2 + 1, device=first.device) > last_shell
    return ShellAmplitudes(**{name: ratio.masked_fill(beyond, math.nan) for name, ratio in ratios.items()})


def _root(power: Tensor, against: Tensor) -> Tensor:
    return torch.where((against > 0) & power.isfinite(), (power / against.clamp(min=1e-300)).sqrt(), math.nan)
