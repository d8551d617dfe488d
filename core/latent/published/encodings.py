"""Positional encodings: sines and cosines of a position along fixed vectors.

Frequencies are as cryoDRGN documents its options; positions are in cycles per pixel, -1/2 to 1/2 along each axis.
Sources: Zhong et al. 2021, Nature Methods 18, 176; Tancik et al. 2020, NeurIPS 33, 7537 (gaussian).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .shape import EncodingKind, NetworkShape


def frequencies(kind: EncodingKind, box: int, count: int) -> Tensor:
    """The frequencies (count,) float64 along each axis, in radians per cycle per pixel.

    geom_ft
        From wavelengths of the box to Nyquist: D pi (2 / D)^(i / (n - 1)).
    geom_full
        D pi (1 / (D pi))^(i / (n - 1)), down to 1.
    geom_lowf
        (D / 2) (2 / D)^(i / (n - 1)).
    geom_nohighf
        (D / 2) (4 pi / D)^(i / (n - 1)).
    linear_lowf
        1, 2, ... D / 2, whatever the count.
    """
    half, whole = box / 2, float(box)
    if kind == "linear_lowf":
        return torch.arange(1, box // 2 + 1, dtype=torch.float64)
    part = torch.arange(count, dtype=torch.float64) / max(count - 1, 1)
    first, last = {
        "geom_ft": (whole * math.pi, 2.0 * math.pi),
        "geom_full": (whole * math.pi, 1.0),
        "geom_lowf": (half, 1.0),
        "geom_nohighf": (half, 2.0 * math.pi),
    }[kind]
    return first * (last / first) ** part


class PositionalEncoding(nn.Module):
    """Sines, then cosines, of positions along vectors; positions as they are where there is no vector.

    Parameters
    ----------
    vectors
        (V, 3) in x, y, z, radians per cycle per pixel. They are stored with the network and not learned.
    """

    vectors: Tensor

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors.float())

    @classmethod
    def of(cls, shape: NetworkShape, generator: torch.Generator) -> PositionalEncoding:
        """The encoding of a shape, its random vectors drawn."""
        if shape.encoding == "none":
            return cls(torch.zeros(0, 3))
        if shape.encoding == "gaussian":
            drawn = torch.randn(3 * shape.encoding_count, 3, generator=generator)
            return cls(drawn * (shape.feature_sigma * (shape.box // 2)))
        along = frequencies(shape.encoding, shape.box, shape.encoding_count)
        return cls(torch.kron(torch.eye(3, dtype=torch.float64), along[:, None]))

    @property
    def width(self) -> int:
        """Numbers of a position."""
        return 2 * len(self.vectors) if len(self.vectors) else 3

    def forward(self, points: Tensor) -> Tensor:
        """Features (..., width) of positions (..., 3), in float32 whatever the arithmetic of the layers around."""
        if not len(self.vectors):
            return points
        with torch.autocast(points.device.type, enabled=False):
            phases = points.float() @ self.vectors.T
            return torch.cat([torch.sin(phases), torch.cos(phases)], dim=-1)
