"""From the network's map to the map that is handed back: the published way, or filling in what is not measured.

`fill` is a maximum a posteriori estimate. A refinement program computes S = m D / W with the gain
m = W / (W + 1 / tau2): the posterior under a Gaussian prior of variance tau2 around zero. Put the prior's mean where
the network predicts the map, N, and the same algebra gives S + (1 - m) N: a voxel that is measured well stays as
measured, one that is not comes from the network, and everything between is weighed by how well it is measured.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..directional import MOST_SIGNAL
from ..fourier import expand, forward, friedel_weights, inverse, radial_sum

_LEAST_GAIN = 0.05


def gain_from_fsc(fsc3d: Tensor) -> Tensor:
    """Gain m of a half-map whose directional FSC is known, when the sums are not.

    The FSC of two halves of equal signal-to-noise ratio s is s / (1 + s) (Rosenthal & Henderson 2003,
    doi 10.1016/j.jmb.2003.07.013), which is the gain of one half's Wiener filter.

    Parameters
    ----------
    fsc3d
        (n, n, n // 2 + 1), any values.

    Returns
    -------
    The same shape, in [0, 0.999].
    """
    return torch.nan_to_num(fsc3d.float()).clamp(0, MOST_SIGNAL)


def on_scale_of(standard: Tensor, network_map: Tensor, gain: Tensor, window: Tensor | None = None) -> Tensor:
    """Scale the network's map, shell by shell, to a standard map that shares no noise with it.

    The network's map keeps some noise of the half that it was made of; against that half's own standard map the factor
    comes out up to 1.8 times too large where there is little signal. Against the other half's the noise averages out.

    In each shell the factor c that minimises sum m |S - c m N|^2: the standard map is m times the signal, so N is on
    the signal's scale when m N is on that of S, and well-measured voxels say so best.

    Parameters
    ----------
    standard, network_map
        (n, n, n).
    gain
        (n, n, n // 2 + 1) in [0, 1).
    window
        (n, n, n); where the two are compared (the mask, so that noise of the solvent has no say); None: everywhere.

    Returns
    -------
    (n, n, n // 2 + 1) complex, half spectrum of the scaled map; 0 in shells where nothing is measured or the two do
    not agree, so that the network alone never puts anything there.
    """
    n = standard.shape[-1]
    spectrum = forward(network_map.float())
    s, v = _compared(standard, network_map, window)
    across = radial_sum(gain * gain * (s * v.conj()).real, n)
    power = radial_sum(gain**3 * v.abs() ** 2, n)
    measured = radial_sum(gain, n) > _LEAST_GAIN**2 * radial_sum(torch.ones_like(gain), n)
    factor = torch.where(measured & (power > 0), across / power.clamp(min=torch.finfo(power.dtype).tiny), 0)
    scaled: Tensor = spectrum * expand(factor.clamp(min=0).to(spectrum.real.dtype), n)
    return scaled


def on_one_scale(standard: Tensor, network_map: Tensor, gain: Tensor, window: Tensor | None = None) -> Tensor:
    """Scale the network's map by one factor for all shells, where the map's own spectrum is right but for that.

    The factor is that of `on_scale_of` with all shells together. The strong, low resolutions decide it, and there a
    half-map has next to no noise that the network's map could share, so its own standard map can tell it.

    Parameters
    ----------
    standard, network_map
        (n, n, n).
    gain
        (n, n, n // 2 + 1) in [0, 1).
    window
        (n, n, n), where the two are compared; None: everywhere.

    Returns
    -------
    (n, n, n // 2 + 1) complex, half spectrum of the scaled map; 0 where the two do not agree.
    """
    s, v = _compared(standard, network_map, window)
    twice = friedel_weights(standard.shape[-1], gain.device)
    across = float((twice * gain * gain * (s * v.conj()).real).double().sum())
    power = float((twice * gain**3 * v.abs() ** 2).double().sum())
    scaled: Tensor = forward(network_map.float()) * max(across / power if power > 0 else 0.0, 0.0)
    return scaled


def _compared(standard: Tensor, network_map: Tensor, window: Tensor | None) -> tuple[Tensor, Tensor]:
    """Half spectra of two maps (n, n, n) as they are compared: inside a window, if there is one."""
    window = torch.ones((), device=standard.device) if window is None else window
    return forward(standard.float() * window), forward(network_map.float() * window)


def fill(
    standard: Tensor,
    network_map: Tensor,
    gain: Tensor,
    window: Tensor | None = None,
    *,
    prior_variance: float = 1.0,
    other: tuple[Tensor, Tensor] | None = None,
    one_scale: bool = False,
) -> Tensor:
    """Fill what a standard map lacks with the network's map, put on the standard maps' scale.

    With N' that map, m the gain and p the prior's variance in units of tau2, the estimate is
    (p S + (1 - m) N') / (p m + 1 - m); for p = 1 that is S + (1 - m) N', for p = 0 it is N'.

    Parameters
    ----------
    standard
        (n, n, n), the regularised map of a half.
    network_map
        (n, n, n), the network's map of that half, on any scale.
    gain
        (n, n, n // 2 + 1) in [0, 1], DC first: the gain with which `standard` was made.
    window
        (n, n, n), soft; where the scale is measured.
    prior_variance
        How far the truth is expected to lie from the network's map, as a share of the signal's own power, in [0, 1].
        1 trusts the network no more than the standard map trusts zero.
    other
        Standard map and gain of the other half, which the scale is taken from; None: from those given first.
    one_scale
        Scale all shells alike, see `on_one_scale`, instead of each by itself.

    Returns
    -------
    (n, n, n) float32.

    Raises
    ------
    ValueError
        If shapes do not agree.
    """
    n = standard.shape[-1]
    if standard.shape != network_map.shape or tuple(standard.shape) != (n, n, n):
        raise ValueError(f"maps must be cubes of one size: {tuple(standard.shape)} and {tuple(network_map.shape)}")
    if tuple(gain.shape) != (n, n, n // 2 + 1):
        raise ValueError(f"gain {tuple(gain.shape)} is not a half spectrum {(n, n, n // 2 + 1)}")
    if not 0 <= prior_variance <= 1:
        raise ValueError(f"prior_variance must be in [0, 1], not {prior_variance}")
    gain = gain.clamp(0, 1 if prior_variance > 0 else MOST_SIGNAL).float()
    like, like_gain = (standard, gain) if other is None else (other[0], other[1].clamp(0, 1).float())
    prior = (on_one_scale if one_scale else on_scale_of)(like, network_map, like_gain, window)
    measured = forward(standard.float())
    lacking = 1 - gain
    return inverse((prior_variance * measured + lacking * prior) / (prior_variance * gain + lacking), n)


def plausible(result: Tensor, standard: Tensor, factor: float = 10.0) -> str | None:
    """Say why a result must not be handed back, or None when it may.

    Parameters
    ----------
    result
        The map (n, n, n) that would be returned.
    standard
        The standard map of the same call, the safe answer.
    factor
        How far the deviation may be from the standard map's, and the mean from the standard map's in deviations.
    """
    if result.shape != standard.shape:
        return f"shape {tuple(result.shape)} instead of {tuple(standard.shape)}"
    if not bool(torch.isfinite(result).all()):
        return "values that are not finite"
    mean, deviation = float(result.double().mean()), float(result.double().std())
    expected_mean, expected = float(standard.double().mean()), float(standard.double().std())
    if expected > 0 and not expected / factor <= deviation <= expected * factor:
        return f"a deviation of {deviation:.3g} where the standard map has {expected:.3g}"
    if abs(mean - expected_mean) > factor * expected:
        return f"a mean of {mean:.3g} where the standard map has {expected_mean:.3g}"
    return None
