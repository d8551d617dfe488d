"""A small pair of half-maps, its weight and its mask, and options that train a tiny network on them in a moment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from cryobridge.core.correction import CorrectionState
from cryobridge.core.fourier.transforms import apply_filter, radius
from cryobridge.core.volume.masks import soft_sphere
from cryobridge.schemas.correction import CorrectionOptions


def tiny_options(**chosen: Any) -> CorrectionOptions:
    small = {"preset": "tiny", "cube_size": 16, "crop_size": 32, "batch": 2, "steps": 2, "warm_steps": 2}
    return CorrectionOptions.for_device("cpu", **{**small, **chosen})


def noisy_pair(seed: int = 0, n: int = 24) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two noisy halves (n, n, n), their weight (n, n, n // 2 + 1) and a mask."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.exp(-((radius(n) / n / 0.25) ** 2))
    signal = apply_filter(torch.randn(n, n, n, generator=generator), weight)
    halves = [signal + 0.2 * torch.randn(n, n, n, generator=generator) for _ in range(2)]
    return halves[0], halves[1], weight, soft_sphere(n, n / 4, 3)


def equal_states(first: CorrectionState, second: CorrectionState) -> bool:
    """Whether two states are bitwise the same."""
    a, b = first.tensors(), second.tensors()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
