"""Controls for a network that makes maps: what it makes of halves that hold no common signal.

Two kinds of such halves: pure noise with the measured noise's own power spectrum, in all its
anisotropy, and the halves themselves with their phases randomised beyond a shell. What correlation the network's
outputs still have, it brought in; the FSC is corrected for that as it is for what a mask brings in.

References
----------
Chen et al. 2013, doi 10.1016/j.ultramic.2013.06.004 (high-resolution noise substitution).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..correction import pair_noise
from ..fourier import check_same_box, phase_randomise


def noise_pair(half1: Tensor, half2: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two volumes (n, n, n) of noise, independent of each other, each with the power of one half's noise.

    The halves' difference over sqrt(2) has the power of one half's noise in every Fourier voxel and no signal; it is
    given the phases of two independent draws of white noise (drawn where the generator lives).
    """
    check_same_box(half1, half2)
    noise = pair_noise(half1, half2)
    return phase_randomise(noise, 0, generator), phase_randomise(noise, 0, generator)


def phase_randomised_pair(
    half1: Tensor, half2: Tensor, from_shell: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Both halves (n, n, n) with independent random phases from `from_shell` on; their amplitudes stay."""
    check_same_box(half1, half2)
    return phase_randomise(half1, from_shell, generator), phase_randomise(half2, from_shell, generator)


def corrected_for_control(total: Tensor, control: Tensor) -> Tensor:
    """FSC that is left when what the control shows is taken off: (t - c) / (1 - c) per shell, float64 (m,).

    0 where the control is the larger; a control below 0 is chance and counts as 0, which never flatters.

    Parameters
    ----------
    total, control
        FSC curves (m,): of the outputs made from the data, and of those made from the control's halves.
    """
    control = control.double().clamp(min=0.0)
    # Where both are 1, as in shell 0, their difference is nothing but rounding.
    left = (total.double() - control) / (1.0 - control).clamp(min=1e-6)
    return torch.where(control > total, torch.zeros_like(left), left)


def power_gain(before: Tensor, after: Tensor, mask: Tensor | None = None) -> float:
    """Power of a map (n, n, n) after over that before, inside the mask, each about its mean.

    Of maps of noise: what a network adds to noise.
    """
    check_same_box(before, after)
    window = torch.ones_like(before) if mask is None else mask

    def power(volume: Tensor) -> Tensor:
        return ((volume - volume.mean()) * window).double().square().sum()

    return float(power(after) / power(before))
