"""The last steps of a reconstruction in real space: a soft sphere, and the correction for trilinear interpolation."""

from __future__ import annotations

import numpy as np
import torch

from . import gridding

_MASK_EDGE = 3.0


def mask_and_correct(volume: torch.Tensor, padding: float) -> None:
    """Set what is outside the sphere of the box's size to its mean, and undo the interpolation. In place.

    Parameters
    ----------
    volume
        (N, N, N) real, centre at N//2.
    padding
        Padding factor of the sums it was made of.
    """
    box = len(volume)
    distance = np.sqrt(np.arange(3 * (box // 2 + 1) ** 2))
    radius = box / 2
    edge = 0.5 + 0.5 * np.cos(np.pi * (radius + _MASK_EDGE - distance) / _MASK_EDGE)
    outside_of = np.where(distance < radius, 0.0, np.where(distance > radius + _MASK_EDGE, 1.0, edge))
    correction_of = 1.0 / np.sinc(distance / (box * padding)) ** 2
    outside_table = torch.from_numpy(outside_of).to(volume.device, volume.dtype)
    correction_table = torch.from_numpy(correction_of).to(volume.device, volume.dtype)
    centred = (torch.arange(box, device=volume.device) - box // 2) ** 2
    plane = centred[:, None] + centred[None, :]

    step = gridding.chunk_length(32 * box * box, volume.device)
    total = torch.zeros((), dtype=torch.float64, device=volume.device)
    counted = torch.zeros((), dtype=torch.float64, device=volume.device)
    for chunk in gridding.chunks(box, step):
        z = slice(chunk.start, chunk.stop)
        outside = outside_table[centred[z, None, None] + plane].double()
        total += (outside * volume[z]).sum()
        counted += outside.sum()
    background = (total / counted).to(volume.dtype)
    for chunk in gridding.chunks(box, step):
        z = slice(chunk.start, chunk.stop)
        squared = centred[z, None, None] + plane
        volume[z] = torch.lerp(volume[z], background, outside_table[squared]).mul_(correction_table[squared])
