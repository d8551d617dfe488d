"""What a network makes of a small part of a block: enough to see how a training goes, in one call of the network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .material import SignalEvidence, TomogramBlock
from .network import DIVISOR
from .prediction import Answer
from .wedge import Wedge, filtered, wedge_weight

_MOST = 96


@dataclass(frozen=True)
class Glimpse:
    """A volume before and now, bright where dense.

    Attributes
    ----------
    before, now
        As it was measured, and as a network makes it, (z, y, x) each on the host, of one scale.
    wedge
        Of what was measured.
    """

    before: Tensor
    now: Tensor
    wedge: Wedge


@torch.no_grad()
def glimpse_of(network: Answer, block: TomogramBlock, evidence: SignalEvidence, most: int = _MOST) -> Glimpse:
    """Look at the middle of a block: both answers to it as it lies, neither turned nor joined with the data.

    Parameters
    ----------
    network
        In evaluation mode, on the block's device.
    block, evidence
        See `block_of`.
    most
        Longest side of what is looked at, in reduced voxels.
    """
    gain = evidence.reduced_gain(block.shape, block.weight.device)
    mean = block.halves.mean(0)
    inside = tuple(_middle(side, block.margin, most) for side in block.shape)
    shown = filtered(mean, gain)[inside]
    measured, filling = network(shown[None, None].contiguous(memory_format=torch.channels_last_3d))[0].float()
    weight = wedge_weight(block.wedge, shown.shape, device=shown.device)
    # W m + (1 - W) f, by one transform.
    now = filling + filtered(measured - filling, weight)
    return Glimpse(mean[inside].cpu(), now.cpu(), block.wedge)


def _middle(side: int, margin: int, most: int) -> slice:
    """Of one axis, within the margins where there is room; as many voxels as a network can halve."""
    wanted = min(most, max(side - 2 * margin, DIVISOR))
    length = wanted - wanted % DIVISOR
    start = (side - length) // 2
    return slice(start, start + length)
