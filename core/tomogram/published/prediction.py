"""What the network makes of whole boxes, whatever their side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


@torch.no_grad()
def answered(network: Callable[[Tensor], Tensor], boxes: Tensor, divisor: int) -> Tensor:
    """The network's answer to boxes (b, z, y, x), of the same shape.

    Parameters
    ----------
    network
        From (b, 1, z, y, x) to the same, in evaluation mode; sides must divide by `divisor`.
    boxes
        Others are mirrored beyond their end, by less than `divisor` voxels, and cut again.
    divisor
        Of the network's shape.
    """
    sides = boxes.shape[-3:]
    beyond = [-side % divisor for side in sides]
    pads = [end for more in reversed(beyond) for end in (0, more)]
    padded = functional.pad(boxes[:, None], pads, mode="reflect") if any(beyond) else boxes[:, None]
    found: Tensor = network(padded.contiguous(memory_format=torch.channels_last_3d))
    return found[:, 0, : sides[0], : sides[1], : sides[2]]
