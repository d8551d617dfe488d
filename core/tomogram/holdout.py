"""How good a correction is where something was measured but not shown: an end of the tilt range is held out.

At prediction an angular sector is taken away from each half, and what the network puts there is compared with what the
other half measured there. Divided by the root of the correlation that the measured halves have among themselves, it is
the correlation with the truth (as for a map against a half-map: Rosenthal & Henderson, JMB 2003,
doi 10.1016/j.jmb.2003.07.013, equation 17).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .material import SignalEvidence, TomogramBlock, weakened
from .orientations import keeping
from .prediction import Answer, answers
from .shells import COUNT, CrossPower, Curve
from .wedge import Wedge, wedge_weight

SECTOR_DEG = 20.0
_LEAST_AGREEMENT = 0.05
"""Of the halves in the sector; where they agree less nothing can be compared."""
_LOW, _HIGH = 0.02, 0.25
"""Cycles per voxel of the tomogram."""


@dataclass(frozen=True)
class HeldOutScore:
    """What was found in one or more held-out sectors.

    Attributes
    ----------
    curve
        Estimated correlation with the truth by shell of the reduced voxels; 0 where it cannot be told.
    agreement
        That of the measured halves with each other in the sectors.
    score
        Mean of the curve over what can be told from 0.02 to 0.25 cycles per voxel of the tomogram; None if nothing.
    power_ratio
        Amplitude of what was put into the sectors over that of the signal there, as the halves tell it; None if
        nothing can be told.
    """

    curve: Curve
    agreement: Curve
    score: float | None
    power_ratio: float | None


def end_sectors(wedge: Wedge, width_deg: float = SECTOR_DEG) -> tuple[tuple[float, float], ...]:
    """The sectors at both ends of the measured range; narrower where a quarter of the range is less."""
    low, high = wedge.sectors_deg[0][0], wedge.sectors_deg[-1][1]
    width = min(width_deg, (high - low) / 4)
    return (low, low + width), (high - width, high)


@torch.no_grad()
def held_out_score(
    network: Answer,
    blocks: Sequence[TomogramBlock],
    evidence: SignalEvidence,
    sectors: Sequence[tuple[float, float]] | None = None,
) -> HeldOutScore:
    """Hold out sectors, one at a time, and compare.

    Parameters
    ----------
    network
        In evaluation mode, on the blocks' device.
    blocks
        Reduced as `evidence` says. Of one map only, what is put into the sector is compared with the map itself there:
        its noise in the sector was not shown.
    evidence
        Of their tomogram.
    sectors
        From and to, in degrees; both ends of each block's range if None.
    """
    between, measured = CrossPower.none(), CrossPower.none()
    for block in blocks:
        spectra = torch.fft.rfftn(block.halves, dim=(-3, -2, -1))
        for low, high in end_sectors(block.wedge) if sectors is None else sectors:
            rest = block.wedge.without(low, high)
            left = wedge_weight(rest, block.shape, device=block.weight.device)
            held = block.weight * (1 - left)
            found = weakened(_answers_without(network, block, rest, left), block)
            measured.add(spectra[0], spectra[1], block.shape, held)
            for half in range(2):
                between.add(found[half], spectra[1 - half], block.shape, held)
    return _score(between, measured, evidence)


def _answers_without(network: Answer, block: TomogramBlock, rest: Wedge, left: Tensor) -> Tensor:
    """Spectra of what is filled in (2, z, y, x // 2 + 1) when a half is shown without a sector."""
    shown = torch.fft.irfftn(torch.fft.rfftn(block.seen, dim=(-3, -2, -1)) * left, s=block.shape, dim=(-3, -2, -1))
    turns = keeping(rest)
    return torch.stack([torch.fft.rfftn(answers(network, half, turns)[1]) for half in shown])


def _score(between: CrossPower, measured: CrossPower, evidence: SignalEvidence) -> HeldOutScore:
    middles = (torch.arange(COUNT) + 0.5) / 64 / evidence.factor
    agreement = measured.correlation() if evidence.paired else Curve(evidence.agreement.of(middles).double())
    tells = agreement.values > _LEAST_AGREEMENT
    root = agreement.values.clamp(min=_LEAST_AGREEMENT).sqrt()
    curve = torch.where(tells, (between.correlation().values / root).clamp(-1, 1), torch.zeros_like(root))
    counted = tells & (middles > _LOW) & (middles < _HIGH)
    if not bool(counted.any()):
        return HeldOutScore(Curve(curve), agreement, None, None)
    # Both halves were shown in turn, each sum holds both; of the signal's power the cross term tells without noise.
    filled = (between.first / 2)[counted].sum()
    signal = (measured.cross if evidence.paired else measured.cross * agreement.values)[counted].sum()
    ratio = float((filled / signal.clamp(min=1e-30)).sqrt())
    return HeldOutScore(Curve(curve), agreement, float(curve[counted].mean()), ratio)


@torch.no_grad()
def filled_agreement(network: Answer, blocks: Sequence[TomogramBlock]) -> Curve:
    """How far what is filled in from one half agrees with what is filled in from the other, by shell.

    It flatters: one network makes both, and what it makes up in the same way from both agrees as well.
    """
    sums = CrossPower.none()
    for block in blocks:
        turns = keeping(block.wedge)[:1]
        filled = [torch.fft.rfftn(answers(network, half, turns)[1]) for half in block.seen]
        sums.add(filled[0], filled[1], block.shape, 1 - block.weight)
    return sums.correlation()


@torch.no_grad()
def noise_filling(network: Answer, blocks: Sequence[TomogramBlock], evidence: SignalEvidence) -> float:
    """Amplitude filled in where the network is shown noise alone, over what it fills in from the data.

    The noise is half the difference of the halves, which holds no signal and is as strong as that of their mean.
    """
    noise, data = 0.0, 0.0
    for block in blocks:
        turns = keeping(block.wedge)[:1]
        gain = evidence.reduced_gain(block.shape, block.weight.device)
        even, odd = torch.fft.rfftn(block.halves, dim=(-3, -2, -1))
        for sign in (-1, 1):
            shown = torch.fft.irfftn((even + sign * odd) / 2 * gain, s=block.shape)
            spectrum = torch.fft.rfftn(answers(network, shown, turns)[1]) * (1 - block.weight)
            power = float(spectrum.abs().square().sum())
            noise, data = (noise + power, data) if sign < 0 else (noise, data + power)
    return math.sqrt(noise / max(data, 1e-30))
