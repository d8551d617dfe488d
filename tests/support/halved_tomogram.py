"""A tomogram with a known truth, as two halves of which a range of tilts was measured."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from cryobridge.core.tomogram import Wedge, filtered, wedge_weight
from cryobridge.wrappers.formats import mrc

LEVEL, CONTRAST = 100.0, 10.0


def truth(shape: tuple[int, int, int] = (24, 32, 32), seed: int = 1) -> torch.Tensor:
    """Balls and a few rods, dark on grey, (z, y, x)."""
    generator = torch.Generator().manual_seed(seed)
    axes = [torch.arange(side, dtype=torch.float32) for side in shape]
    density = torch.zeros(shape)
    for number in range(round(40 * math.prod(shape) / 9e4) + 4):
        centre = torch.rand(3, generator=generator) * torch.tensor(shape)
        sigma = [1.5, 1.5, 1.5]
        if number % 5 == 0:
            sigma[number // 5 % 3] = 5.0
        lines = [torch.exp(-0.5 * ((axis - c) / s).square()) for axis, c, s in zip(axes, centre, sigma, strict=True)]
        density = torch.maximum(density, torch.einsum("z,y,x->zyx", *lines))
    return LEVEL - CONTRAST * (density - density.mean()) / density.std()


def halves(
    whole: torch.Tensor, noise: float = 0.7, wedge: Wedge | None = None, seed: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    """What is measured of it, twice with noise of its own, so many times as strong as the contrast."""
    generator = torch.Generator().manual_seed(seed)
    weight = wedge_weight(wedge or Wedge.of_range(), whole.shape)
    made = [
        LEVEL + filtered(whole - LEVEL + CONTRAST * noise * torch.randn(whole.shape, generator=generator), weight)
        for _ in range(2)
    ]
    return made[0], made[1]


def write_halves(folder: Path, name: str, even: torch.Tensor, odd: torch.Tensor, voxel_size_A: float = 10.0) -> None:
    """Files of one name in folders `even` and `odd`."""
    for half, volume in (("even", even), ("odd", odd)):
        (folder / half).mkdir(parents=True, exist_ok=True)
        mrc.write_atomically(folder / half / f"{name}.mrc", volume.numpy().astype(np.float32), voxel_size_A)


def likeness_in_wedge(found: torch.Tensor, whole: torch.Tensor, wedge: Wedge | None = None) -> float:
    """Correlation of a result with the truth over what no tilt has measured."""
    outside = (wedge_weight(wedge or Wedge.of_range(), whole.shape) == 0).float()
    one, other = (filtered(volume - volume.mean(), outside) for volume in (found, whole))
    return float((one * other).sum() / (one.norm() * other.norm()).clamp(min=1e-12))
