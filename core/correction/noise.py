"""Noise that looks like a map's own: the rotated inputs of the training get it, because measured maps have it.

A filter alone does not make a well-measured direction look like a badly measured one: that is not only weaker, it
is noisier. Without noise the network learns to fill clean maps and then meets dirty ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..fourier import forward, inverse

_LEAST_SOLVENT_SHARE = 0.02


def pair_noise(half1: Tensor, half2: Tensor) -> Tensor:
    """Noise of one half-map (n, n, n): the halves' difference over sqrt(2), which holds no signal."""
    return (half1 - half2) / math.sqrt(2)


def solvent_noise(half: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor | None:
    """Noise like that of one half-map, from that half alone.

    The power spectrum of the solvent, in all its anisotropy, with the phases of white noise.

    Parameters
    ----------
    half
        (n, n, n), not masked.
    mask
        (n, n, n) soft, 1 where the particle is.
    generator
        On the CPU.

    Returns
    -------
    (n, n, n), or None when the mask leaves less than 2 % of the box.
    """
    n = half.shape[-1]
    solvent = (1 - mask).clamp(0, 1)
    share = float(solvent.square().mean())
    if share < _LEAST_SOLVENT_SHARE:
        return None
    level = (half * solvent).sum() / solvent.sum()
    amplitude = forward((half - level) * solvent).abs() / math.sqrt(share)
    phases = forward(torch.randn(n, n, n, generator=generator).to(half.device))
    return inverse(amplitude * phases / phases.abs().clamp(min=1e-12), n)
