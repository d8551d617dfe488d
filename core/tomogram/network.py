"""A small 3D U-Net with two answers: what was measured, cleaned, and what was not, filled in.

The encoder goes down three times; its levels have two convolutions each and no normalisation, so that the scale of the
data passes through. Each answer is a convolution of the last features, zero at the start, plus the input times a number
that is learned: 1 at first for the measured part and 0 for the rest, so that an untrained network changes nothing and
fills in nothing.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ..nets import convolution_block

DEPTH = 3
DIVISOR = 2**DEPTH
_SLOPE = 0.05
_CONVOLUTIONS = 2


class TwoHeadUNet(nn.Module):
    """The network of the missing-wedge correction.

    Parameters
    ----------
    base
        Channels of the first level; each deeper one has twice as many.
    """

    def __init__(self, base: int) -> None:
        super().__init__()
        widths = [base * 2**level for level in range(DEPTH + 1)]
        self.first = nn.Conv3d(1, base, 3, padding=1)
        self.encoders = nn.ModuleList(convolution_block(w, w, "none", _CONVOLUTIONS) for w in widths[:-1])
        self.downs = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.bottom = convolution_block(widths[-1], widths[-1], "none", _CONVOLUTIONS)
        self.ups = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.decoders = nn.ModuleList(convolution_block(2 * w, w, "none", _CONVOLUTIONS) for w in widths[:-1])
        self.activation = nn.LeakyReLU(_SLOPE)
        self.heads = nn.Conv3d(base, 2, 3, padding=1)
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)  # type: ignore[arg-type]
        self.gains = nn.Parameter(torch.tensor([1.0, 0.0]))

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (batch, 1, z, y, x) to (batch, 2, z, y, x): measured and missing part; sides must divide by 8."""
        if any(size % DIVISOR for size in volumes.shape[-3:]):
            raise ValueError(f"sides must divide by {DIVISOR}, got {tuple(volumes.shape)}")
        features = self.activation(self.first(volumes))
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            features = encoder(features)
            skips.append(features)
            features = self.activation(down(features))
        features = self.bottom(features)
        for up, decoder, skip in zip(reversed(self.ups), reversed(self.decoders), reversed(skips), strict=True):
            features = decoder(self.activation(torch.cat((skip, up(features)), dim=1)))
        added: Tensor = self.heads(features)
        return added + volumes * self.gains.view(1, 2, 1, 1, 1)
