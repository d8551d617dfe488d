"""The 3D U-Net of the correction: three levels, a residual output, any width.

With `norm="batch"` it is the network of spIsoNet (Liu et al., Nature Methods 2025, doi 10.1038/s41592-024-02505-x)
layer by layer, so its parameter counts are the published ones. It knows nothing of maps, losses or training.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Norm = Literal["batch", "group", "none"]

DEPTH = 3
DIVISOR = 2**DEPTH
_SLOPE = 0.01
_WIDEST = 320
_CONVOLUTIONS_PER_BLOCK = 3


class UNet3D(nn.Module):
    """Encoder, bottleneck and decoder with skips; the output is the input plus what the network adds.

    Parameters
    ----------
    base
        Channels of the first level; deeper levels hold twice as many each, at most 320.
    norm
        "batch" as published; "group" has no running statistics, so the same crop always gives the same answer,
        in whatever batch and iteration; "none" keeps the scale of the input all the way through.
    identity_start
        Begin as the identity (last convolution zero), so that an untrained network changes nothing.
    """

    def __init__(self, base: int, norm: Norm = "batch", identity_start: bool = False) -> None:
        super().__init__()
        widths = [min(base * 2**level, _WIDEST) for level in range(DEPTH + 1)]
        self.first = nn.Conv3d(1, base, 3, padding=1)
        self.encoders = nn.ModuleList(_block(w, w, norm) for w in widths[:-1])
        self.downs = nn.ModuleList(
            nn.Sequential(*_convolution(a, b, norm, size=2, stride=2)) for a, b in pairwise(widths)
        )
        self.bottom = _block(widths[-1], widths[-1], norm, convolutions=2)
        self.ups = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.decoders = nn.ModuleList(_block(2 * w, w, norm) for w in widths[:-1])
        self.activation = nn.LeakyReLU(_SLOPE)
        self.last = nn.Conv3d(base, 1, 3, padding=1)
        if identity_start:
            nn.init.zeros_(self.last.weight)
            if self.last.bias is not None:
                nn.init.zeros_(self.last.bias)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (batch, 1, d, h, w) to the same shape; d, h and w must divide by 8."""
        if any(size % DIVISOR for size in volumes.shape[-3:]):
            raise ValueError(f"sides must divide by {DIVISOR}, got {tuple(volumes.shape)}")
        features = self.first(volumes)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.bottom(features)
        for up, decoder, skip in zip(reversed(self.ups), reversed(self.decoders), reversed(skips), strict=True):
            features = decoder(self.activation(torch.cat((skip, up(features)), dim=1)))
        added: Tensor = self.last(features)
        return volumes + added


def parameter_count(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for parameter in network.parameters())


def _block(inputs: int, outputs: int, norm: Norm, convolutions: int = _CONVOLUTIONS_PER_BLOCK) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(convolutions):
        layers += _convolution(inputs if index == 0 else outputs, outputs, norm, size=3, stride=1)
    return nn.Sequential(*layers)


def _convolution(inputs: int, outputs: int, norm: Norm, size: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv3d(inputs, outputs, size, stride=stride, padding=1 if stride == 1 else 0, bias=norm == "none")
    return [convolution, *_normalisation(outputs, norm), nn.LeakyReLU(_SLOPE)]


def _normalisation(channels: int, norm: Norm) -> list[nn.Module]:
    if norm == "batch":
        return [nn.BatchNorm3d(channels)]
    if norm == "group":
        return [nn.GroupNorm(max(1, channels // 8), channels)]
    return []
