"""What a corrected map holds beyond the limit of its correction: the half-map, regularised as it is at the limit.

Up to the limit a map is what a Wiener filter leaves of the measurement, and what a network fills in. Were the half-map
taken as it is from there on, its noise would begin at full strength where the filter ends: tenfold in power in
directions that are measured badly. So the filter goes on: in each direction from its value at the limit, and down
with the signal-to-noise ratio that the halves show shell by shell.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..directional import MOST_SIGNAL
from ..fourier import apply_filter, last_shell, shell_index

_EDGE_SHELLS = 6
_READ_SHELLS = 3


def beyond_limit(half: Tensor, gain: Tensor, curve: Tensor | None, voxel_size_A: float, limit_A: float) -> Tensor:
    """The part of a half-map that lies beyond the limit, filtered by a gain that begins as that at the limit ends.

    Parameters
    ----------
    half
        (n, n, n), not regularised.
    gain
        (n, n, n // 2 + 1) in [0, 1), DC first, of its Wiener filter up to the limit.
    curve
        FSC of both half-maps (n // 2 + 1,), which says how the signal falls off; None where that must not be known:
        the gain stays that at the limit.
    voxel_size_A, limit_A
        Of the maps, and where the correction ends.

    Returns
    -------
    (n, n, n); nothing of it lies within the limit.
    """
    n = half.shape[-1]
    last = last_shell(n, voxel_size_A, limit_A)
    fall = torch.ones(n // 2 + 1, dtype=torch.float64) if curve is None else fall_off(curve, last)
    return apply_filter(half, gain_beyond(gain, fall, last).to(half.dtype))


def gain_beyond(gain: Tensor, fall: Tensor, last: int) -> Tensor:
    """Continue a Wiener filter's gain beyond shell `last`, (n, n, n // 2 + 1); 0 up to there.

    A direction's gain m is that of the signal-to-noise ratio m / (1 - m); m is its mean at three radii within shell
    `last`. The ratio falls from there with `fall` (n // 2 + 1,); the corners of the cube have that of shell n // 2.
    """
    n = gain.shape[0]
    shell = shell_index(n, gain.device)
    z, y, x = points = (shell > last).nonzero().T
    signed = torch.where(points > n // 2, points - n, points).double()
    length = signed.square().sum(0).sqrt()
    read = torch.zeros_like(length)
    radii = _read_at(last)
    for at in radii:
        inner = (signed * (at / length)).round().long()
        read += gain[inner[0] % n, inner[1] % n, inner[2]].double() / len(radii)
    read = read.clamp(0, MOST_SIGNAL)
    ratio = read / (1 - read) * fall.to(read)[shell[z, y, x].clamp(max=n // 2)]
    out = torch.zeros_like(gain)
    out[z, y, x] = (ratio / (1 + ratio)).to(gain.dtype)
    return out


def fall_off(curve: Tensor, last: int) -> Tensor:
    """How the signal-to-noise ratio falls beyond shell `last`, from an FSC of two halves (n // 2 + 1,).

    In units of its mean where `gain_beyond` reads. It never rises, and at its steepest is a raised cosine over six
    shells from the limit: a map that ended at once would ring.
    """
    padded = torch.nn.functional.pad(curve[None, None], (1, 1), mode="replicate")
    smooth = torch.nn.functional.avg_pool1d(padded, 3, stride=1)[0, 0].clamp(0, MOST_SIGNAL)
    ratio = smooth / (1 - smooth)
    begin = ratio[_read_at(last)].mean()
    falling = torch.where(begin > 0, ratio / begin.clamp(min=torch.finfo(ratio.dtype).tiny), 1).clamp(max=1)
    falling[:last] = 1
    falling = falling.cummin(0).values
    past = (torch.arange(len(curve), device=curve.device) - last).clamp(0, _EDGE_SHELLS) / _EDGE_SHELLS
    return torch.maximum(torch.where(begin > 0, falling, 0), falling[last] * (0.5 + 0.5 * (math.pi * past).cos()))


def _read_at(last: int) -> list[int]:
    """Radii within shell `last` where its gain is read: even the voxel next to a point there lies within."""
    return [max(last - back, 1) for back in range(1, _READ_SHELLS + 1)]
