"""How well each direction is measured, told by the noise: what two half-maps differ in says how many data there were.

A 3DFSC over narrow cones is itself noise where little is measured, and a map that is filtered by it is multiplied by a
random weight. The difference of two half-maps holds no signal, its power goes with one over the number of
observations, and every Fourier voxel of a direction tells of it, whatever its resolution.

The signal-to-noise ratio is that of a sampling n(u) that depends on direction alone: SNR(k) = n(u) s(|k|), and the FSC
of two halves is SNR / (1 + SNR) (Rosenthal & Henderson 2003, doi 10.1016/j.jmb.2003.07.013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fourier import (
    bin_directions,
    check_same_box,
    expand,
    forward,
    frequency_bins,
    friedel_weights,
    radial_mean,
    shell_index,
)

FIRST_SHELL = 3
"""Below it a shell has hardly more voxels than there are directions to tell apart."""
MOST_SIGNAL = 0.999
"""No more of a voxel counts as signal, and no gain of a Wiener filter is more: 1 would be data without any noise."""
_HALF_ANGLE_DEG = 10.0
_BINS_PER_FACE = 32  # steps of about 3 degrees
_BINS_AT_ONCE = 512
_RANGE = 1e4  # a direction cannot count ten thousand times less than another: beyond that it is simply empty
_BISECTIONS = 60


@dataclass(frozen=True)
class DirectionalSampling:
    """Relative sampling by direction.

    bins
        (b,) sampling of each direction bin of `frequency_bins`, 1 on average over Fourier space.
    share
        (b,) share of Fourier space that each bin takes up; sums to 1.
    place
        (n, n, n // 2 + 1) int32, the bin of each Fourier voxel.
    """

    bins: Tensor
    share: Tensor
    place: Tensor

    @property
    def volume(self) -> Tensor:
        """The sampling of each Fourier voxel, (n, n, n // 2 + 1) float32."""
        return self.bins.float()[self.place]


def sampling_from_noise(
    half1: Tensor, half2: Tensor, limit_shell: int, half_angle_deg: float = _HALF_ANGLE_DEG
) -> DirectionalSampling:
    """Tell how densely each direction was sampled from the noise of two half-maps that are not regularised.

    n(u) is one over the mean power of half1 - half2 in a double cone about u, where each shell's power counts relative
    to the shell's mean, so that neither the colour of the noise nor how it falls off plays a part.

    Parameters
    ----------
    half1, half2
        (n, n, n), on one scale and not masked tightly: the solvent's noise tells as much as the particle's.
    limit_shell
        First shell that does not count.
    half_angle_deg
        Of the cone.

    Raises
    ------
    ValueError
        If the halves do not differ at all within the limit.
    """
    n = check_same_box(half1, half2)
    index = shell_index(n, half1.device)
    power = forward(half1.float() - half2.float()).abs().double().square()
    mean = radial_mean(power, n, index=index)
    counted = (index >= min(FIRST_SHELL, limit_shell - 1)) & (index < limit_shell)
    level = expand(mean, n, index=index)
    if not bool((level[counted] > 0).any()):
        raise ValueError("the half-maps do not differ: there is no noise to tell the sampling from")
    relative = torch.where(counted & (level > 0), power / level.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
    weights = friedel_weights(n, half1.device, torch.float64) * counted
    place = frequency_bins(n, _BINS_PER_FACE, half1.device)
    count = 3 * _BINS_PER_FACE**2
    flat = place.reshape(-1).long()
    sums = torch.bincount(flat, (relative * weights).reshape(-1), minlength=count)
    voxels = torch.bincount(flat, weights.reshape(-1), minlength=count)
    noise = _in_cones(sums, voxels, half_angle_deg)
    noise = noise.clamp(min=float(noise.max()) / _RANGE)
    share = voxels / voxels.sum()
    bins = 1 / noise
    return DirectionalSampling(bins / (bins * share).sum(), share, place)


def fraction_of_signal(sampling: DirectionalSampling, mean_fsc: Tensor, limit_shell: int) -> Tensor:
    """Share f of each Fourier voxel's power that is signal, from the sampling by direction and the mean FSC by shell.

    f = n s / (1 + n s), with s by shell such that the shell's mean of f is the mean FSC, smoothed over three shells.

    Parameters
    ----------
    sampling
        By direction.
    mean_fsc
        (n // 2 + 1,) mean over the voxels of each shell of what says how far the halves agree there (the mean phase
        cosine, negative values included).
    limit_shell
        First shell that is 0 in the result.

    Returns
    -------
    (n, n, n // 2 + 1) float32 in [0, 0.999], DC 1.
    """
    n = sampling.place.shape[0]
    curve = _smoothed(mean_fsc.double(), limit_shell).clamp(0.0, MOST_SIGNAL)
    ratio = _ratio_by_shell(sampling, curve)
    shells = torch.arange(curve.shape[0], device=curve.device)
    ratio = torch.where(shells < limit_shell, ratio, 0.0)
    snr = expand(ratio, n).float() * sampling.volume
    fraction = (snr / (1 + snr)).clamp(max=MOST_SIGNAL)
    fraction[0, 0, 0] = 1.0
    return fraction


def mean_phase_cosine(half1: Tensor, half2: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over each shell of the cosine of the phase difference of two maps (n, n, n), float64 (n // 2 + 1,).

    What the mean over a shell of a 3DFSC of that form is, without its cones.
    """
    n = check_same_box(half1, half2)
    first, second = half1 - half1.mean(), half2 - half2.mean()
    if mask is not None:
        first, second = first * mask, second * mask
    a, b = forward(first.float()), forward(second.float())
    length = a.abs() * b.abs()
    cosine = torch.where(length > 0, (a * b.conj()).real / length.clamp(min=torch.finfo(length.dtype).tiny), 0.0)
    return radial_mean(cosine, n)


def _in_cones(sums: Tensor, voxels: Tensor, half_angle_deg: float) -> Tensor:
    """Mean of (b,) sums over voxels in a double cone about each bin's direction, (b,)."""
    vectors = bin_directions(_BINS_PER_FACE, sums.device)
    least = math.cos(math.radians(half_angle_deg))
    means = []
    for start in range(0, len(vectors), _BINS_AT_ONCE):
        near = ((vectors[start : start + _BINS_AT_ONCE] @ vectors.T).abs() >= least).double()
        means.append((near @ sums) / (near @ voxels).clamp(min=1.0))
    return torch.cat(means)


def _smoothed(curve: Tensor, limit_shell: int) -> Tensor:
    """Running mean over three shells of a curve (m,) below the limit; what lies beyond is not looked at."""
    inside = curve[1:limit_shell]
    if len(inside) < 3:
        return curve
    padded = torch.cat([inside[:1], inside, inside[-1:]])
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    return torch.cat([curve[:1], smooth, curve[limit_shell:]])


def _ratio_by_shell(sampling: DirectionalSampling, curve: Tensor) -> Tensor:
    """For each value c of a curve (m,) in [0, 1) the s for which the mean of n s / (1 + n s) is c; by bisection."""
    counted = sampling.share > 0
    n, share = sampling.bins[counted], sampling.share[counted]
    low = torch.full_like(curve, math.log(1e-8))
    high = torch.full_like(curve, math.log(1e8))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        snr = middle.exp()[:, None] * n
        above = ((snr / (1 + snr)) * share).sum(1) > curve
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return torch.where(curve > 0, ((low + high) / 2).exp(), 0.0)
