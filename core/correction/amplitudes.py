"""Amplitudes of a corrected map restored in badly measured directions: for looking at, and for nothing else.

A map of least squared error is weak where little is known: its amplitude there is its correlation with the truth times
the truth's. That is the honest map. Contoured at one level it looks as if structure were missing in those directions,
so a second map can be had in which each shell has about as much signal in every direction. Its error is larger.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..directional import FIRST_SHELL, DirectionQuality, direction_quality
from ..fourier import THRESHOLD, apply_filter, check_same_box, forward, friedel_weights, shell_index

MOST = 2.5
"""Ours: no amplitude is raised by more; where more would be needed, next to nothing is known."""
HARDLY_THERE, THERE = 0.2, 0.35
"""Ours: share of the wanted amplitude up to which nothing is raised, and from which all is: the rest is noise."""
_TAPER = 3.0


def amplitude_gain(
    corrected: Tensor,
    half1: Tensor,
    half2: Tensor,
    fsc3d: Tensor,
    last_shell: int,
    mask: Tensor | None = None,
) -> Tensor:
    """By how much the amplitude of each Fourier voxel has to be raised, (n, n, n // 2 + 1), from 1 to `MOST`.

    The wanted amplitude of a shell is that of the signal in its well measured directions: the corrected map's root
    mean square there times sqrt(2 FSC / (1 + FSC)), with the FSC of the half-maps in those directions. It is 1 in well
    measured directions, beyond the limit, and where there is too little to raise.

    Parameters
    ----------
    corrected, half1, half2
        The corrected map, and the half-maps before the correction, (n, n, n).
    fsc3d
        3DFSC of the half-maps, (n, n, n // 2 + 1), DC first.
    last_shell
        Up to where the correction goes.
    mask
        Real-space mask (n, n, n), or None.

    References
    ----------
    Rosenthal & Henderson 2003, doi 10.1016/j.jmb.2003.07.013, for the share of the signal in an average.
    """
    n = check_same_box(corrected, half1)
    check_same_box(corrected, half2)
    quality = direction_quality(fsc3d, last_shell)
    spectra = [forward(volume if mask is None else volume * mask) for volume in (corrected, half1, half2)]
    curve = _gain_by_direction(spectra, quality, last_shell)
    shell = shell_index(n, corrected.device)
    gain = curve[shell.clamp(max=curve.shape[0] - 1), quality.index]
    return torch.where(shell <= last_shell, gain, 1.0).to(corrected.dtype)


def restored_amplitudes(
    corrected: Tensor,
    half1: Tensor,
    half2: Tensor,
    fsc3d: Tensor,
    last_shell: int,
    mask: Tensor | None = None,
) -> Tensor:
    """The corrected map (n, n, n) with its amplitudes raised by `amplitude_gain`, whose parameters these are."""
    return apply_filter(corrected, amplitude_gain(corrected, half1, half2, fsc3d, last_shell, mask))


def _gain_by_direction(spectra: list[Tensor], quality: DirectionQuality, last_shell: int) -> Tensor:
    """Gain by shell and direction bin, float64 (shells, b), from the spectra (n, n, n // 2 + 1) of the three maps."""
    corrected, first, second = spectra
    n = int(corrected.shape[0])
    weight = friedel_weights(n, corrected.device, torch.float64)
    voxels = _by_bin(weight.expand(corrected.shape), quality)
    power = _by_bin(_product(corrected, corrected) * weight, quality)
    pairs = ((first, second), (first, first), (second, second))
    halves = [_by_bin(_product(*pair) * weight, quality) for pair in pairs]
    well = (1.0 - quality.badly).floor()
    cross, one, two = (sums @ well for sums in halves)
    fsc = torch.where(one * two > 0, cross / (one * two).sqrt().clamp(min=1e-300), 0.0).clamp(0.0, 1.0)
    wanted = (power @ well / (voxels @ well).clamp(min=1.0) * 2.0 * fsc / (1.0 + fsc)).sqrt()
    there = (_smoothed(power, quality) / _smoothed(voxels, quality).clamp(min=1e-12)).sqrt()
    share = there / wanted.clamp(min=1e-300).unsqueeze(1)
    gain = (1.0 / share.clamp(min=1e-12)).clamp(1.0, MOST)
    trusted = ((share - HARDLY_THERE) / (THERE - HARDLY_THERE)).clamp(0.0, 1.0) * quality.badly
    shells = torch.arange(n // 2 + 1, device=corrected.device, dtype=torch.float64)
    reach = ((last_shell + 1 - shells) / _TAPER).clamp(0.0, 1.0) * (shells >= FIRST_SHELL)
    known = ((fsc < THRESHOLD) & (shells >= FIRST_SHELL)).cumsum(0) == 0
    return 1.0 + (gain - 1.0) * trusted * (reach * known).unsqueeze(1)


def _by_bin(values: Tensor, quality: DirectionQuality) -> Tensor:
    """Sums of (n, n, n // 2 + 1) by shell and direction bin, float64 (n // 2 + 1, b)."""
    n, count = values.shape[0], quality.mean.shape[0]
    shells = n // 2 + 1
    shell = shell_index(n, values.device)
    place = torch.where(shell < shells, shell * count + quality.index, shells * count)
    sums = torch.bincount(place.reshape(-1), values.double().reshape(-1), minlength=shells * count + 1)
    return sums[: shells * count].view(shells, count)


def _smoothed(sums: Tensor, quality: DirectionQuality) -> Tensor:
    return sums @ quality.kernel


def _product(first: Tensor, second: Tensor) -> Tensor:
    return (first.real * second.real + first.imag * second.imag).double()
