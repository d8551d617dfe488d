"""Blocks of a tomogram as a training sees them: both halves, what of them can be believed, and their wedge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .band import cropped
from .shells import CrossPower, Curve, radius, shell_means
from .wedge import Wedge, wedge_weight

_MOST_RELIABLE = 0.999
_LEAST_POWER = 0.02
"""Of the largest shell mean: keeps the weight of nearly empty shells finite."""
_END = 1 / 3
"""Where two halves agree less, their mean holds more noise than signal."""


@dataclass(frozen=True)
class Block:
    """Part of a tomogram, reduced to the band that holds something.

    Attributes
    ----------
    halves
        (2, z, y, x): even and odd, bright where dense, of unit scale; twice the same where there is one map only.
    seen
        The same, each shell times how far the halves agree in it: what a network is shown.
    weight
        Of the wedge, (z, y, x // 2 + 1).
    emphasis
        Of each shell in the loss, mean 1.
    wedge
        Of the tomogram.
    margin
        Voxels at each face that are faded or mirrored, and in which nothing is learned.
    """

    halves: Tensor
    seen: Tensor
    weight: Tensor
    emphasis: Curve
    wedge: Wedge
    margin: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Its sides."""
        z, y, x = self.halves.shape[-3:]
        return z, y, x

    def to(self, device: torch.device | str) -> Block:
        """The same on another device."""
        moved = (one.to(device) for one in (self.halves, self.seen, self.weight))
        return Block(*moved, self.emphasis, self.wedge, self.margin)


@dataclass(frozen=True)
class Evidence:
    """What the halves of a tomogram tell of its signal.

    Attributes
    ----------
    agreement
        Their correlation by shell in the measured region, 0 to .999.
    factor
        By which the tomogram may be reduced without losing what they agree on.
    offset, scale
        Of the grey values: a block shown to a network is -(grey - offset) / scale.
    """

    agreement: Curve
    factor: int
    offset: float
    scale: float


def agreement_of(pairs: Sequence[tuple[Tensor, Tensor]], wedge: Wedge) -> Curve:
    """How far two halves agree in the measured region, by shell and at least 0.

    Parameters
    ----------
    pairs
        Blocks of the even and of the odd tomogram, (z, y, x) each.
    """
    sums = CrossPower.none()
    for even, odd in pairs:
        weight = wedge_weight(wedge, even.shape, device=even.device)
        spectra = [torch.fft.rfftn(one - one.mean()) for one in (even, odd)]
        sums.add(*spectra, even.shape, weight)
    return Curve(sums.correlation().values.clamp(0, _MOST_RELIABLE))


def reduction(agreement: Curve, most: int = 4) -> int:
    """The largest whole factor that keeps every shell in which the halves agree."""
    end = agreement.last_above(_END)
    return max(1, min(most, math.floor(0.5 / max(end, 0.5 / most) + 1e-6)))


def joined_gain(agreement: Curve) -> Curve:
    """The Wiener filter of the mean of both halves, 2 F / (1 + F)."""
    return Curve(2 * agreement.values / (1 + agreement.values))


def block_of(even: Tensor, odd: Tensor, wedge: Wedge, evidence: Evidence, margin: int = 0) -> Block:
    """Prepare a block (z, y, x) of both halves as they are in their files; sides divide by 16 times the factor.

    Parameters
    ----------
    margin
        In voxels of the files.
    """
    factor, shape = evidence.factor, even.shape
    small = [side // factor for side in shape]
    weight = wedge_weight(wedge, small, device=even.device)
    spectra = torch.stack(
        [cropped(torch.fft.rfftn((evidence.offset - one) / evidence.scale), shape, factor) for one in (even, odd)]
    )
    spectra = spectra * weight
    filter_of_half = evidence.agreement.of(radius(small, even.device) / factor)
    back = [torch.fft.irfftn(one, s=small, dim=(-3, -2, -1)) for one in (spectra, spectra * filter_of_half)]
    power = shell_means(spectra.abs().square().mean(0), small, weight).values
    agreement = torch.tensor([_at(evidence.agreement, (shell + 0.5) / 64 / factor) for shell in range(len(power))])
    return Block(back[0], back[1], weight, emphasis_of(agreement, power), wedge, -(-margin // factor))


def emphasis_of(agreement: Tensor, power: Tensor) -> Curve:
    """How much each shell counts in a loss: what is reliable, over how much power there is; mean 1.

    Parameters
    ----------
    agreement, power
        Of both halves, and of one of them, by shell (32,).
    """
    emphasis = agreement / (power / power.max().clamp(min=1e-30) + _LEAST_POWER)
    return Curve(emphasis / emphasis.mean().clamp(min=1e-30))


def _at(curve: Curve, frequency: float) -> float:
    return float(curve.of(torch.tensor([frequency])))
