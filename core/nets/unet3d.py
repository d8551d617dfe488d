"""The 3D U-Net of the correction: three levels, a residual output, any width.

With `norm="batch"` it is the network of spIsoNet (Liu et al., Nature Methods 2025, doi 10.1038/s41592-024-02505-1)
layer by layer, so its parameter counts are the published ones. It knows nothing of maps, losses or training.
"""

from __future__ import annotations

from itertools import pairwise, product
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import winograd

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
    channels
        Of the input. The first is the map; others, such as a mask, only help.
    """

    def __init__(self, base: int, norm: Norm = "batch", identity_start: bool = False, *, channels: int = 1) -> None:
        super().__init__()
        widths = [min(base * 2**level, _WIDEST) for level in range(DEPTH + 1)]
        self.first = nn.Conv3d(channels, base, 3, padding=1)
        self.encoders = nn.ModuleList(convolution_block(w, w, norm) for w in widths[:-1])
        self.downs = nn.ModuleList(
            nn.Sequential(*_convolution(a, b, norm, size=2, stride=2)) for a, b in pairwise(widths)
        )
        self.bottom = convolution_block(widths[-1], widths[-1], norm, convolutions=2)
        self.ups = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.decoders = nn.ModuleList(convolution_block(2 * w, w, norm) for w in widths[:-1])
        self.activation = nn.LeakyReLU(_SLOPE, inplace=True)
        self.last = _LastConvolution(base, 1, 3, padding=1)
        if identity_start:
            nn.init.zeros_(self.last.weight)
            if self.last.bias is not None:
                nn.init.zeros_(self.last.bias)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (batch, channels, d, h, w) to (batch, 1, d, h, w); d, h and w must divide by 8."""
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
        return volumes[:, :1] + added


def parameter_count(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for parameter in network.parameters())


class _Convolution(nn.Conv3d):
    """A 3x3x3 convolution that takes the cheapest way to its result; parameters and values are those of `Conv3d`."""

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (b, c, d, h, w) to (b, out, d, h, w)."""
        if not winograd.pays(volumes, self.weight):
            return super().forward(volumes)
        result = winograd.convolve(volumes, self.weight)
        return result if self.bias is None else result + self.bias.view(-1, 1, 1, 1)


class _LastConvolution(nn.Conv3d):
    """To one channel. A CPU computes 16 channels at a time, so eight neighbours are computed as channels of one."""

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (b, c, d, h, w), even sides, to (b, 1, d, h, w)."""
        if volumes.device.type != "cpu" or self.bias is None:
            return super().forward(volumes)
        places = list(product((0, 1), repeat=3))
        kernels = torch.stack([functional.pad(self.weight[0], (x, 1 - x, y, 1 - y, z, 1 - z)) for z, y, x in places])
        blocks = functional.conv3d(volumes, kernels, self.bias.expand(len(places)), stride=2, padding=1)
        b, _, d, h, w = volumes.shape
        blocks = blocks.view(b, 2, 2, 2, d // 2, h // 2, w // 2)
        return blocks.permute(0, 4, 1, 5, 2, 6, 3).reshape(b, 1, d, h, w)


def convolution_block(
    inputs: int, outputs: int, norm: Norm, convolutions: int = _CONVOLUTIONS_PER_BLOCK
) -> nn.Sequential:
    """Convolutions of 3x3x3, each with its normalisation and a leaky ReLU."""
    layers: list[nn.Module] = []
    for index in range(convolutions):
        layers += _convolution(inputs if index == 0 else outputs, outputs, norm, size=3, stride=1)
    return nn.Sequential(*layers)


def _convolution(inputs: int, outputs: int, norm: Norm, size: int, stride: int) -> list[nn.Module]:
    convolution = (
        _Convolution(inputs, outputs, size, padding=1, bias=norm == "none")
        if stride == 1
        else nn.Conv3d(inputs, outputs, size, stride=stride, bias=norm == "none")
    )
    # In place: the normalisation before it keeps its own input for the way back, not its output.
    return [convolution, *_normalisation(outputs, norm), nn.LeakyReLU(_SLOPE, inplace=True)]


def _normalisation(channels: int, norm: Norm) -> list[nn.Module]:
    if norm == "batch":
        return [nn.BatchNorm3d(channels)]
    if norm == "group":
        return [nn.GroupNorm(max(1, channels // 8), channels)]
    return []
