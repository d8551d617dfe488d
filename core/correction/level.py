"""What a network sees of half-maps: each Fourier voxel by the share of it that is signal, every shell equally strong.

A Wiener filter of one half leaves f times its spectrum, f = SNR / (1 + SNR). Divided by the amplitude of the signal in
its shell it is the best linear estimate of a map whose spectrum is level, so that all resolutions count alike in a loss
and a network meets the same kind of map whatever was measured.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..fourier import expand, forward, friedel_weights, radial_mean, shell_index

_LEAST_FRACTION = 0.02


def signal_amplitude(halves: tuple[Tensor, Tensor], fraction: Tensor, mask: Tensor | None) -> Tensor:
    """Root mean square amplitude of the signal by shell, float64 (n // 2 + 1,); 0 in shells without any.

    The power of a Wiener-filtered half-map is on average f times that of the signal, so the mean f of a shell turns one
    into the other; both are taken inside the mask, over both halves.

    Parameters
    ----------
    halves
        (n, n, n) each, Wiener-filtered, on one scale.
    fraction
        (n, n, n // 2 + 1), f.
    mask
        (n, n, n), or None.
    """
    n = fraction.shape[0]
    index = shell_index(n, fraction.device)
    window = torch.ones_like(halves[0]) if mask is None else mask
    share = float(window.double().square().mean())
    power = torch.zeros(n // 2 + 1, dtype=torch.float64, device=fraction.device)
    for half in halves:
        power = power + radial_mean(forward(half * window).abs().square(), n, index=index)
    mean = radial_mean(fraction, n, index=index)
    signal = power / (2 * share) / mean.clamp(min=_LEAST_FRACTION)
    return torch.where(mean > 0, signal, 0.0).sqrt()


def levelling(amplitude: Tensor, n: int) -> Tensor:
    """Gain that makes shells equally strong, and the signal's deviation inside the mask 1.

    Parameters
    ----------
    amplitude
        (n // 2 + 1,) of the signal, see `signal_amplitude`; 0 in shells that are to be left out.
    n
        Box.

    Returns
    -------
    (n, n, n // 2 + 1) float32, 0 where the amplitude is. DC is left out: a level is no structure.
    """
    tiny = torch.finfo(torch.float32).tiny
    used = amplitude > tiny
    used[0] = False
    gain = expand(torch.where(used, 1 / amplitude.clamp(min=tiny), 0.0).float(), n)
    # Parseval: the mean square of a map is the sum of the power over the box's voxels, squared.
    voxels = float((friedel_weights(n, gain.device) * (gain > 0)).sum())
    return gain * (n**3 / math.sqrt(max(voxels, 1.0)))
