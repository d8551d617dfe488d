"""From a trained network to a corrected block: filled where nothing was measured, joined with the data elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .band import restored
from .material import SignalEvidence, TomogramBlock, weakened
from .orientations import Orientation, keeping
from .shells import COUNT, Curve, radius, shares, shell_index, summed
from .wedge import wedge_weight

Answer = Callable[[Tensor], Tensor]
"""A network: (batch, 1, z, y, x) to (batch, 2, z, y, x)."""


@dataclass(frozen=True)
class WedgeCorrection:
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
def corrected(network: Answer, block: TomogramBlock, evidence: SignalEvidence) -> WedgeCorrection:
    """Correct a block.

    Parameters
    ----------
    network
        In evaluation mode, on the block's device.
    block, evidence
        See `block_of`.
    """
    shape, weight = block.shape, block.weight
    turns = keeping(block.wedge)
    mean = torch.fft.rfftn(block.halves.mean(0))
    gain = evidence.reduced_gain(shape, weight.device)
    shown = torch.fft.irfftn(mean * gain, s=shape, dim=(-3, -2, -1))
    measured, filling = (torch.fft.rfftn(one) for one in answers(network, shown, turns))
    if not evidence.paired:
        # Without a second half nobody can tell what the network lost: the data stand as the filter leaves them, unless
        # the network was to undo their transfer.
        shown_part = mean * gain if block.transfer is None else measured
        return WedgeCorrection(weight * shown_part + (1 - weight) * filling, Curve(torch.zeros(COUNT)))
    share = residual_share(network, block)
    whole = measured + share.at(shape, weight.device) * (mean - weakened(measured, block))
    return WedgeCorrection(weight * whole + (1 - weight) * filling, share)


def residual_share(network: Answer, block: TomogramBlock) -> Curve:
    """Which share of the data's difference from the network's measured answer is signal, by shell.

    What the answer to the one half leaves of the other has noise of the other alone, so that what both remainders have
    in common is signal that the network lost. It is a Wiener filter of the remainder; 0 where nothing was lost.
    """
    clean = torch.stack([answers(network, one, keeping(block.wedge)[:1])[0] for one in block.seen])
    found = weakened(torch.fft.rfftn(clean, dim=(-3, -2, -1)), block)
    halves = torch.fft.rfftn(block.halves, dim=(-3, -2, -1))
    spectra = halves - found.flip(0)
    mean = (halves - found).mean(0)
    index = shell_index(block.shape, mean.device)
    counts = shares(block.shape, mean.device) * block.weight
    common = summed((spectra[0] * spectra[1].conj()).real * counts, index)
    whole = summed(mean.abs().square() * counts, index)
    return Curve((common / whole.clamp(min=1e-30)).clamp(0, 1))


def rejoined(
    correction: WedgeCorrection,
    even: Tensor,
    odd: Tensor,
    block: TomogramBlock,
    evidence: SignalEvidence,
    margin: int = 0,
) -> Tensor:
    """The corrected block (nz, ny, nx) in the voxels and grey values of the files, faded over half its margin.

    Beyond the band of the network stands what a Wiener filter leaves of the data.
    """
    shape, factor = even.shape, evidence.factor
    mean = torch.fft.rfftn(evidence.signal((even + odd) / 2, margin))
    data = mean * evidence.gain.at(shape, even.device) * wedge_weight(block.wedge, shape, device=even.device)
    # The reduced volume's own Nyquist, which has no sign, and the corners of its spectrum are left to the data.
    inside = restored(torch.ones_like(correction.spectrum), shape, factor).real / factor**3
    inside = inside * (radius(shape, even.device) < 0.5 / factor)
    spectrum = inside * restored(correction.spectrum, shape, factor) + (1 - inside) * data
    return evidence.grey(torch.fft.irfftn(spectrum, s=shape))


def wiener(even: Tensor, odd: Tensor, evidence: SignalEvidence, margin: int = 0) -> Tensor:
    """The mean of both halves (nz, ny, nx), each shell by how far they agree in it; grey values of the files."""
    mean = torch.fft.rfftn(evidence.signal((even + odd) / 2, margin))
    return evidence.grey(torch.fft.irfftn(mean * evidence.gain.at(even.shape, even.device), s=even.shape))
