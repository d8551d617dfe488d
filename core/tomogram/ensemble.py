"""Several networks as one: the mean of their answers, and how far they differ where nothing was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .material import SignalEvidence, TomogramBlock
from .orientations import keeping
from .prediction import Answer, answers
from .shells import shares


def mean_answer(networks: Sequence[Answer]) -> Answer:
    """A network (batch, 1, z, y, x) to (batch, 2, z, y, x) whose answers are the means of those of all networks."""
    if len(networks) == 1:
        return networks[0]

    def mean(volumes: Tensor) -> Tensor:
        total = networks[0](volumes)
        for one in networks[1:]:
            total = total + one(volumes)
        return total / len(networks)

    return mean


@torch.no_grad()
def filled_spread(networks: Sequence[Answer], blocks: Sequence[TomogramBlock], evidence: SignalEvidence) -> float:
    """How far networks differ in what they fill in, over the amplitude of their mean there.

    It is the root of the summed power of the networks' differences from their mean, divided by one less than there
    are of them, over that of the mean's power, both outside the measured part: 0 where all fill in the same, 1 where
    a network differs from the mean by as much as the mean holds.

    Parameters
    ----------
    networks
        Two or more, in evaluation mode, on the blocks' device.
    blocks, evidence
        See `block_of`.

    Raises
    ------
    ValueError
        If there are fewer than two networks.
    """
    if len(networks) < 2:
        raise ValueError("how far networks differ takes two of them")
    apart, together = 0.0, 0.0
    for block in blocks:
        gain = evidence.reduced_gain(block.shape, block.weight.device)
        shown = torch.fft.irfftn(torch.fft.rfftn(block.halves.mean(0)) * gain, s=block.shape)
        counts = shares(block.shape, block.weight.device) * (1 - block.weight).square()
        turns = keeping(block.wedge)[:1]
        fills = torch.stack([torch.fft.rfftn(answers(one, shown, turns)[1]) for one in networks])
        mean = fills.mean(0)
        apart += float(((fills - mean).abs().square().sum(0) * counts).sum()) / (len(networks) - 1)
        together += float((mean.abs().square() * counts).sum())
    return math.sqrt(apart / max(together, 1e-30))
