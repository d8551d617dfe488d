"""Models in the layout of IsoNet's `.h5` files, and what their layers make of a volume, written out in numpy."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass
class MadeUpModel:
    """A network of IsoNet with weights of its own, by Keras' names of layers and arrays."""

    base: int = 2
    depth: int = 2
    convolutions: int = 3
    kernel: tuple[int, int, int] = (3, 3, 3)
    norm: bool = True
    pool: tuple[int, int, int] | None = None
    first_number: int = 0
    seed: int = 0
    layers: dict[str, dict[str, Floats]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._norms = itertools.count(self.first_number)
        widths = [self.base * 2**level for level in range(self.depth)]
        for level, width in enumerate(widths):
            self._level("down", level, 1 if level == 0 else widths[level - 1], width)
            if self.pool is None:
                self._convolution(self._numbered("conv3d", level), (3, 3, 3), width, width)
        top = widths[-1]
        inside = [2 * top] * max(0, self.convolutions - 2)
        numbers = [*range(len(inside)), self.convolutions]
        for number, before, after in zip(numbers, [top, *inside], [*inside, top], strict=True):
            self._convolution(f"bottleneck_no_{number}", self.kernel, before, after)
        for step, level in enumerate(reversed(range(self.depth))):
            below = top if level == self.depth - 1 else widths[level + 1]
            self._convolution(self._numbered("conv3d_transpose", step), (3, 3, 3), widths[level], below, bias=0)
            self._level("up", level, 2 * widths[level], widths[level])
        self._convolution("fullconv_out", (1, 1, 1), self.base, 1)

    def write(self, path: Path, **attributes: Any) -> Path:
        """The file, as Keras saves a whole model."""
        with h5py.File(path, "w") as file:
            for layer, arrays in self.layers.items():
                group = file.create_group(f"model_weights/{layer}/{layer}")
                for name, values in arrays.items():
                    group[f"{name}:0"] = values.astype(np.float32)
            file["optimizer_weights/Adam/down_level_0_no_0/kernel/m:0"] = np.zeros(3, np.float32)
            file.attrs["model_config"] = json.dumps(self.described())
            for name, value in attributes.items():
                file.attrs[name] = value
        return path

    def described(self) -> dict[str, Any]:
        """The stored description of the layers, as far as it is looked at."""
        strides = list(self.pool or (2, 2, 2))
        kinds: list[tuple[str, Mapping[str, Any]]] = [
            ("InputLayer", {}),
            ("Dropout", {"rate": 0.25}),
            ("LeakyReLU", {"alpha": 0.05}),
            ("Conv3DTranspose", {"strides": strides}),
        ]
        if self.norm:
            kinds.append(("BatchNormalization", {"epsilon": 0.001}))
        if self.pool:
            kinds.append(("MaxPooling3D", {"pool_size": list(self.pool)}))
        return {"class_name": "Functional", "config": {"layers": [{"class_name": k, "config": c} for k, c in kinds]}}

    def answer(self, volume: Floats) -> Floats:
        """What the layers make of a volume (z, y, x)."""
        found, skips = volume[..., None], []
        norms, strided, ups = (self._in_order(stem) for stem in ("batch_normalization", "conv3d", "conv3d_transpose"))
        for level in range(self.depth):
            found = self._through(f"down_level_{level}", found, norms)
            skips.append(found)
            found = pooled(found, self.pool) if self.pool else leaky(same(found, next(strided), 2))
        names = sorted(name for name in self.layers if name.startswith("bottleneck"))
        for name in names:
            found = same(found, self.layers[name])
            found = found if name == names[-1] else leaky(found)
        for level in reversed(range(self.depth)):
            joined = np.concatenate([upward(found, next(ups), 2), skips[level]], axis=-1)
            found = self._through(f"up_level_{level}", leaky(joined), norms)
        return volume + same(found, self.layers["fullconv_out"])[..., 0]

    def _through(self, level: str, found: Floats, norms: Iterator[dict[str, Floats]]) -> Floats:
        for index in range(self.convolutions):
            found = same(found, self.layers[f"{level}_no_{index}"])
            if self.norm:
                n = next(norms)
                found = n["gamma"] * (found - n["moving_mean"]) / np.sqrt(n["moving_variance"] + 1e-3) + n["beta"]
            found = leaky(found)
        return found

    def _in_order(self, stem: str) -> Iterator[dict[str, Floats]]:
        count = sum(
            name == stem or (name[len(stem) + 1 :].isdecimal() and name.startswith(stem)) for name in self.layers
        )
        return iter([self.layers[self._numbered(stem, index)] for index in range(count)])

    def _numbered(self, stem: str, index: int) -> str:
        number = index + self.first_number
        return f"{stem}_{number}" if number else stem

    def _level(self, side: str, level: int, inputs: int, width: int) -> None:
        for index in range(self.convolutions):
            self._convolution(f"{side}_level_{level}_no_{index}", self.kernel, inputs if index == 0 else width, width)
            if self.norm:
                number = next(self._norms)
                name = f"batch_normalization_{number}" if number else "batch_normalization"
                self.layers[name] = {
                    part: self._random.uniform(low, high, width).astype(np.float32).astype(float)
                    for part, low, high in NORM_RANGES
                }

    def _convolution(self, name: str, kernel: tuple[int, int, int], inputs: int, outputs: int, bias: int = 1) -> None:
        """Of a transposed one the bias counts the channels that are the last but one axis of its kernel."""
        scale = 1 / np.sqrt(np.prod(kernel) * inputs)
        values = {
            "kernel": self._random.normal(0, scale, (*kernel, inputs, outputs)),
            "bias": self._random.normal(0, 0.1, outputs if bias else inputs),
        }
        self.layers[name] = {part: array.astype(np.float32).astype(float) for part, array in values.items()}


NORM_RANGES = (("gamma", 0.5, 1.5), ("beta", -0.2, 0.2), ("moving_mean", -0.2, 0.2), ("moving_variance", 0.5, 2.0))


def leaky(values: Floats) -> Floats:
    return np.where(values > 0, values, 0.05 * values)


def same(values: Floats, layer: Mapping[str, Floats], stride: int = 1) -> Floats:
    """A convolution of (z, y, x, in); 'same': of an uneven padding the larger part lies at the high end."""
    kernel = layer["kernel"]
    pads, sizes = [], []
    for size, side in zip(values.shape[:3], kernel.shape[:3], strict=True):
        out = -(-size // stride)
        total = max((out - 1) * stride + side - size, 0)
        pads.append((total // 2, total - total // 2))
        sizes.append(out)
    padded = np.pad(values, [*pads, (0, 0)])
    found = np.zeros((*sizes, kernel.shape[-1]))
    for place in np.ndindex(*kernel.shape[:3]):
        z, y, x = (slice(o, o + stride * (n - 1) + 1, stride) for o, n in zip(place, sizes, strict=True))
        found += padded[z, y, x] @ kernel[place]
    return found + layer["bias"]


def upward(values: Floats, layer: Mapping[str, Floats], stride: int) -> Floats:
    """A transposed convolution of (z, y, x, in), cut to `stride` times its size at the high end."""
    kernel = layer["kernel"]
    sizes = values.shape[:3]
    found = np.zeros((*(stride * (n - 1) + k for n, k in zip(sizes, kernel.shape, strict=False)), kernel.shape[3]))
    for place in np.ndindex(*kernel.shape[:3]):
        z, y, x = (slice(o, o + stride * (n - 1) + 1, stride) for o, n in zip(place, sizes, strict=True))
        found[z, y, x] += values @ kernel[place].T
    z, y, x = (slice(0, stride * n) for n in sizes)
    return found[z, y, x] + layer["bias"]


def pooled(values: Floats, window: tuple[int, int, int]) -> Floats:
    z, y, x = (size // side for size, side in zip(values.shape, window, strict=False))
    return values.reshape(z, window[0], y, window[1], x, window[2], -1).max(axis=(1, 3, 5))
