"""Sections of a map along any axis, so that what happens in a direction is seen in the plane of the page."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def sections_along(volume: Tensor, axis: Tensor) -> Tensor:
    """Three sections (3, n, n) through the centre of a map (n, n, n), trilinear, zero outside.

    Parameters
    ----------
    volume
        The map; its centre is voxel n // 2.
    axis
        Unit vector (3,) z, y, x.

    Returns
    -------
    Tensor
        Two sections that hold the axis, which runs along their first dimension, at right angles to each other; and
        the one across it.
    """
    n = volume.shape[0]
    up = functional.normalize(axis.to(volume), dim=0)
    # The coordinate axis that is farthest from it, so that the axes across are well defined.
    helper = torch.zeros_like(up)
    helper[int(up.abs().argmin())] = 1.0
    right = functional.normalize(torch.linalg.cross(up, helper), dim=0)
    away = torch.linalg.cross(right, up)
    steps = torch.arange(n, device=volume.device, dtype=volume.dtype) - n // 2
    planes = [
        n // 2 + steps.view(-1, 1, 1) * first + steps.view(1, -1, 1) * second
        for first, second in ((up, right), (up, away), (away, right))
    ]
    # grid_sample wants x, y, z from -1 at the first voxel's middle to 1 at the last one's.
    places = torch.stack(planes).flip(-1) * (2.0 / (n - 1)) - 1.0
    found = functional.grid_sample(volume[None, None], places[None], mode="bilinear", align_corners=True)
    return found[0, 0]
