"""IsoNet's U-Net, layer by layer as Keras computes it, so that weights of its models give the same output here.

Source: Liu et al., Nature Communications 13, 6482 (2022), doi 10.1038/s41467-022-33957-8; what Keras means by "same"
padding is in its documents. It knows nothing of tomograms.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

Triple = tuple[int, int, int]

_SLOPE = 0.05
_RESAMPLING_KERNEL: Triple = (3, 3, 3)
_TWO: Triple = (2, 2, 2)
_NORM_EPSILON, _NORM_MOMENTUM = 1e-3, 0.01
_START_DEVIATION = 0.02


@dataclass(frozen=True)
class IsoNetShape:
    """What decides the layers of a network, under IsoNet's names.

    Attributes
    ----------
    filter_base
        Channels of the first level; each level below has twice as many.
    unet_depth
        How many times the volume is halved.
    convs_per_depth
        Convolutions of a level, on the way down and on the way up.
    kernel
        Of these convolutions, (z, y, x).
    pool
        Window of a maximum on the way down, (z, y, x); None for a convolution of stride 2.
    drop_out
        Share of values that a training sets to 0.
    batch_normalization
        Whether each of these convolutions is normalised over its batch.
    resampling_kernel
        Of the convolutions between two levels, (z, y, x).
    """

    filter_base: int = 64
    unet_depth: int = 3
    convs_per_depth: int = 3
    kernel: Triple = (3, 3, 3)
    pool: Triple | None = None
    drop_out: float = 0.3
    batch_normalization: bool = True
    resampling_kernel: Triple = _RESAMPLING_KERNEL

    def __post_init__(self) -> None:
        counts = (self.filter_base, self.unet_depth, self.convs_per_depth, *self.kernel, *self.resampling_kernel)
        if min(counts) < 1 or not 0 <= self.drop_out < 1:
            raise ValueError(f"{self} is no network: every size must be 1 or more, and drop_out from 0 to below 1")
        if any(window < 1 or window > side for window, side in zip(self.window, self.resampling_kernel, strict=True)):
            raise ValueError(f"a pool of {self.window} cannot be undone with kernels of {self.resampling_kernel}")

    @property
    def window(self) -> Triple:
        """By how much a level is smaller than the one above, (z, y, x)."""
        return self.pool or _TWO

    @property
    def divisor(self) -> int:
        """Sides of a volume must divide by this."""
        return int(max(self.window) ** self.unet_depth)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, the uppermost first."""
        return tuple(self.filter_base * 2**level for level in range(self.unet_depth))


class IsoNetUNet(nn.Module):
    """Encoder, bottleneck and decoder with skips; the output is the input plus what the network adds."""

    def __init__(self, shape: IsoNetShape) -> None:
        super().__init__()
        self.shape = shape
        widths, window = shape.widths, shape.window
        self.encoders = nn.ModuleList(_level(above, w, shape) for above, w in zip((1, *widths), widths, strict=False))
        resampling = shape.resampling_kernel
        self.downs = (
            nn.ModuleList() if shape.pool else nn.ModuleList(_SameConvolution(w, w, resampling, window) for w in widths)
        )
        self.bottom = _bottom(shape)
        below = (*widths[1:], widths[-1])
        self.ups = nn.ModuleList(_Upward(b, w, resampling, window) for b, w in zip(below, widths, strict=True))
        self.decoders = nn.ModuleList(_level(2 * w, w, shape) for w in widths)
        self.last = nn.Conv3d(shape.filter_base, 1, 1)
        self._start()

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (b, 1, d, h, w) to (b, 1, d, h, w); d, h and w must divide by `shape.divisor`."""
        if any(size % self.shape.divisor for size in volumes.shape[-3:]):
            raise ValueError(f"sides must divide by {self.shape.divisor}, got {tuple(volumes.shape)}")
        features, skips = volumes, []
        for level, encoder in enumerate(self.encoders):
            features = encoder(features)
            skips.append(features)
            features = self._smaller(features, level)
        features = self.bottom(features)
        for up, decoder, skip in zip(reversed(self.ups), reversed(self.decoders), reversed(skips), strict=True):
            joined = torch.cat((up(features), skip), dim=1)
            features = decoder(functional.leaky_relu_(joined, _SLOPE))
        added: Tensor = self.last(features)
        return volumes + added

    def draw_from(self, seed: int) -> None:
        """Have what drop-out takes away follow from a seed, from the next call on, and from nothing drawn before."""
        device = self.last.weight.device
        generator = torch.Generator(device).manual_seed(seed)
        for module in self.modules():
            if isinstance(module, _Dropout):
                module.generator = generator

    def _smaller(self, features: Tensor, level: int) -> Tensor:
        if self.shape.pool is not None:
            return functional.max_pool3d(features, self.shape.pool)
        return functional.leaky_relu_(self.downs[level](features), _SLOPE)

    def _start(self) -> None:
        """Begin as IsoNet does."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.normal_(module.weight, std=_START_DEVIATION)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


class _SameConvolution(nn.Conv3d):
    """Keras' "same" padding: where it is uneven, the larger part lies at the high end."""

    def __init__(self, inputs: int, outputs: int, kernel: Sequence[int], stride: Sequence[int] = (1, 1, 1)) -> None:
        total = [max(side - step, 0) for side, step in zip(kernel, stride, strict=True)]
        is_even = all(one % 2 == 0 for one in total)
        z, y, x = (one // 2 if is_even else 0 for one in total)
        super().__init__(inputs, outputs, _triple(kernel), stride=_triple(stride), padding=(z, y, x))
        # The pad of torch begins with the last axis.
        ends = itertools.chain.from_iterable((one // 2, one - one // 2) for one in reversed(total))
        self._pads = [] if is_even else list(ends)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map (b, c, d, h, w) to (b, out, d / stride, ...)."""
        return super().forward(functional.pad(volumes, self._pads) if self._pads else volumes)


class _Upward(nn.ConvTranspose3d):
    """A transposed convolution whose output is exactly `stride` times as large: Keras cuts off what is beyond."""

    def __init__(self, inputs: int, outputs: int, kernel: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__(inputs, outputs, _triple(kernel), stride=_triple(stride))
        self._starts = [(side - step) // 2 for side, step in zip(kernel, stride, strict=True)]

    def forward(self, volumes: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (b, c, d, h, w) to (b, out, d * stride, ...)."""
        whole = super().forward(volumes, output_size)
        for axis, (start, step) in enumerate(zip(self._starts, self.stride, strict=True), 2):
            whole = whole.narrow(axis, start, volumes.shape[axis] * step)
        return whole


class _Dropout(nn.Module):
    """Sets values to 0 while it trains, by a generator of its own where it has one."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.generator: torch.Generator | None = None

    def forward(self, values: Tensor) -> Tensor:
        """The values (b, c, d, h, w), their mean kept."""
        if not self.training or not self.share:
            return values
        kept = torch.empty_like(values, dtype=torch.bool).bernoulli_(1 - self.share, generator=self.generator)
        return (values * kept).div_(1 - self.share)


def _level(inputs: int, outputs: int, shape: IsoNetShape) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(shape.convs_per_depth):
        layers.append(_SameConvolution(outputs if index else inputs, outputs, shape.kernel))
        if shape.batch_normalization:
            layers.append(nn.BatchNorm3d(outputs, eps=_NORM_EPSILON, momentum=_NORM_MOMENTUM))
        # In place: nothing before needs its own output for the way back.
        layers += [_Dropout(shape.drop_out), nn.LeakyReLU(_SLOPE, inplace=True)]
    return nn.Sequential(*layers)


def _bottom(shape: IsoNetShape) -> nn.Sequential:
    layers: list[nn.Module] = []
    top = shape.widths[-1]
    inputs = top
    for _ in range(max(0, shape.convs_per_depth - 2)):
        layers += [_SameConvolution(inputs, 2 * top, shape.kernel), nn.LeakyReLU(_SLOPE, inplace=True)]
        inputs = 2 * top
    return nn.Sequential(*layers, _SameConvolution(inputs, top, shape.kernel))


def _triple(values: Sequence[int]) -> Triple:
    z, y, x = values
    return z, y, x
