"""How far a map reaches in Fourier space: the shell beyond which a filter has left nothing.

A Fourier shell correlation says nothing about shells without power. Under a mask they do not stay empty: the mask
smears the shells inside outwards, alike in both half-maps, and the correlation stays high up to Nyquist.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .level import masked
from .shells import radial_mean
from .transforms import box_size, forward

_FALL = 1e-4
"""What is left of a shell's power two shells further on, where a filter ends: measured maps are noisy up to Nyquist."""
_NOTHING = 1e-9
"""Of the strongest shell's power: next to what the rounding of numbers leaves."""
_SMEARED = 2.0
"""Power under the mask over power without it, from which on a shell holds what the mask brought from others."""
_ENDS = 2
"""Shells before Nyquist in which programs stop as a matter of course."""


def shell_power(volume: Tensor) -> Tensor:
    """Mean power of maps (..., n, n, n) by shell, float64 (..., n // 2 + 1); 0 in shell 0, whatever the map's level."""
    spectrum = forward(volume - volume.mean((-3, -2, -1), keepdim=True))
    # Of a map's own scale, so that squares neither overflow nor vanish in float32.
    scale = spectrum.abs().amax((-3, -2, -1), keepdim=True).clamp(min=torch.finfo(volume.dtype).tiny)
    power = radial_mean((spectrum / scale).abs().square(), box_size(volume))
    power = power * scale.double().square().squeeze(-1).squeeze(-1)
    power[..., 0] = 0.0
    return power


def last_held_shell(volume: Tensor, mask: Tensor | None = None) -> int:
    """Last shell of a map (n, n, n) that holds something of its own, under a mask (n, n, n) if there is one.

    It is n // 2 unless the power falls by orders of magnitude within two shells and stays down, or vanishes beside the
    strongest shell, or is less than what the mask brings there from other shells. The last two shells of the box do
    not count: many programs leave them empty.
    """
    n = box_size(volume)
    powers = shell_power(torch.stack([volume] if mask is None else [volume, masked(volume, mask)]))
    power = powers[0]
    held = _before_fall(power)
    if mask is not None:
        smeared = powers[1]
        own = (smeared[1:] <= _SMEARED * power[1:]).nonzero()
        held = min(held, int(own[-1]) + 1) if own.numel() else 0
    return held if held < n // 2 - _ENDS else n // 2


def _before_fall(power: Tensor) -> int:
    """Last shell of a spectrum (m,) before it falls to nothing; m - 1 where it does not."""
    last = int(power.numel()) - 1
    # The largest power from each shell on.
    beyond = power.flip(0).cummax(0).values.flip(0)
    vanished = (beyond[1:] < _NOTHING * power.max()).nonzero()
    held = int(vanished[0]) if vanished.numel() else last
    falls = (beyond[3:] < _FALL * power[1:-2]).nonzero() if last > 2 else torch.empty(0)
    if not falls.numel():
        return held
    # Of the two shells of the fall those count that still hold more than what it ends at.
    first = int(falls[0]) + 1
    inside = (power[first:] >= _FALL * power[first]).nonzero()
    return min(held, first + int(inside[-1]))
