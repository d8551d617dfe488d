"""From a trained network to a corrected block: filled where nothing was measured, joined with the data elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .band import restored
from .material import Block, Evidence, joined_gain
from .orientations import Orientation, keeping
from .shells import Curve, radius, shares, shell_index, summed
from .wedge import wedge_weight

Answer = Callable[[Tensor], Tensor]
"""A network: (batch, 1, z, y, x) to (batch, 2, z, y, x)."""


@dataclass(frozen=True)
class Correction:
    """What was made of a block.

    Attributes
    ----------
    spectrum
        Of the reduced block, (z, y, x // 2 + 1): measured and filled part together.
    residual_share
        How much of what the network took away from the measured part is signal, by shell, and was put back.
    """

    spectrum: Tensor
    residual_share: Curve


def answers(network: Answer, volume: Tensor, orientations: Sequence[Orientation]) -> Tensor:
    """Both answers (2, z, y, x) to a volume (z, y, x), the mean over rotations that leave its wedge where it is."""
    total = torch.zeros(2, *volume.shape, device=volume.device)
    for one in orientations:
        turned = one.apply(volume)[None, None].contiguous(memory_format=torch.channels_last_3d)
        total += one.undo(network(turned)[0])
    return total / len(orientations)


@torch.no_grad()
def corrected(network: Answer, block: Block, agreement: Tensor) -> Correction:
    """Correct a block.

    Parameters
    ----------
    network
        In evaluation mode, on the block's device.
    block
        See `block_of`.
    agreement
        F at every voxel of its half spectrum, (z, y, x // 2 + 1).
    """
    shape, weight = block.shape, block.weight
    turns = keeping(block.wedge)
    mean = torch.fft.rfftn(block.halves.mean(0))
    shown = torch.fft.irfftn(mean * 2 * agreement / (1 + agreement), s=shape, dim=(-3, -2, -1))
    measured, filling = (torch.fft.rfftn(one) for one in answers(network, shown, turns))
    share = residual_share(network, block)
    whole = measured + share.at(shape, weight.device) * (mean - measured)
    return Correction(weight * whole + (1 - weight) * filling, share)


def residual_share(network: Answer, block: Block) -> Curve:
    """Which share of the data's difference from the network's measured answer is signal, by shell.

    What the answer to the one half leaves of the other has noise of the other alone, so that what both remainders have
    in common is signal that the network lost. It is a Wiener filter of the remainder; 0 where nothing was lost.
    """
    clean = torch.stack([answers(network, one, keeping(block.wedge)[:1])[0] for one in block.seen])
    spectra = torch.fft.rfftn(block.halves - clean.flip(0), dim=(-3, -2, -1))
    mean = torch.fft.rfftn((block.halves - clean).mean(0))
    index = shell_index(block.shape, mean.device)
    counts = shares(block.shape, mean.device) * block.weight
    common = summed((spectra[0] * spectra[1].conj()).real * counts, index)
    whole = summed(mean.abs().square() * counts, index)
    return Curve((common / whole.clamp(min=1e-30)).clamp(0, 1))


def rejoined(correction: Correction, even: Tensor, odd: Tensor, block: Block, evidence: Evidence) -> Tensor:
    """The corrected block (z, y, x) in the voxels and grey values of the files.

    Beyond the band of the network stands what a Wiener filter leaves of the data.
    """
    shape = even.shape
    mean = torch.fft.rfftn((evidence.offset - (even + odd) / 2) / evidence.scale)
    gain = joined_gain(evidence.agreement).at(shape, even.device)
    data = mean * gain * wedge_weight(block.wedge, shape, device=even.device)
    own = restored(correction.spectrum, shape, evidence.factor)
    inside = restored(torch.ones_like(correction.spectrum), shape, evidence.factor).real / evidence.factor**3
    inside = inside * (radius(shape, even.device) < 0.5 / evidence.factor)
    spectrum = inside * own + (1 - inside) * data
    return evidence.offset - evidence.scale * torch.fft.irfftn(spectrum, s=shape)


def reduced_agreement(block: Block, evidence: Evidence) -> Tensor:
    """F at every voxel of a reduced block's half spectrum."""
    return evidence.agreement.of(radius(block.shape, block.weight.device) / evidence.factor)


def wiener(even: Tensor, odd: Tensor, evidence: Evidence) -> Tensor:
    """The mean of both halves, each shell by how far they agree in it; grey values of the files."""
    mean = torch.fft.rfftn((evidence.offset - (even + odd) / 2) / evidence.scale)
    gain = joined_gain(evidence.agreement).at(even.shape, even.device)
    return evidence.offset - evidence.scale * torch.fft.irfftn(mean * gain, s=even.shape)
