"""Models of IsoNet 0.x (`model_iterNN.h5`, written by Keras) as weights of our network, without TensorFlow.

Layers that IsoNet names tell the depth and the width; those that Keras numbers come in the order they were made in.
Kernels of Keras are (z, y, x, in, out), those of its transposed convolutions (z, y, x, out, in): both become ours by
the same exchange of axes. Checked by an evaluation of the layers as the documents of Keras describe them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cryobridge.core.tomogram import published
from cryobridge.schemas.errors import InputInvalid

from .hdf5_arrays import Hdf5Content, read_hdf5

_DEEPEST, _MOST_CONVOLUTIONS, _WIDEST = 8, 16, 1024
_NAMED = re.compile(r"(down|up)_level_(\d{1,3})_no_(\d{1,3})")
_NORM_PARTS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_SLOPE, _EPSILON = 0.05, 1e-3

Layers = Mapping[str, Mapping[str, NDArray[np.float32]]]


@dataclass(frozen=True)
class KerasModel:
    """A network as IsoNet trained it.

    shape
        Of `IsoNetUNet`.
    state
        Its weights, as the network's `load_state_dict` takes them, on the CPU.
    """

    shape: published.IsoNetShape
    state: Mapping[str, Tensor]


class _OtherModelError(ValueError):
    """Why a file is no model of IsoNet."""


def read_keras_model(path: Path) -> KerasModel:
    """Read a model of IsoNet.

    Raises
    ------
    InputInvalid
        If it cannot be read, or its layers are not those of IsoNet: one sentence.
    """
    content = read_hdf5(path)
    try:
        layers = _layers(content)
        shape = _configured(_shape(layers), content.texts.get("model_config"))
        state = dict(_weights(layers, shape))
        _check(state, shape)
    except _OtherModelError as error:
        raise InputInvalid(
            f"{path}: is an HDF5 file, but no model of IsoNet ({error}); give a model_iterNN.h5 that its refine wrote"
        ) from error
    return KerasModel(shape, state)


def _layers(content: Hdf5Content) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Arrays of each layer by their kind: `kernel`, `bias`, `gamma`, ..."""
    layers: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, values in content.arrays.items():
        parts = name.split("/")
        # A file of the whole model has the state of its optimiser too.
        if parts[0] == "optimizer_weights" or len(parts) < 2:
            continue
        layers.setdefault(parts[-2], {})[parts[-1].partition(":")[0]] = values
    return layers


def _shape(layers: Layers) -> published.IsoNetShape:
    named = [match for name in layers if (match := _NAMED.fullmatch(name))]
    if not named:
        raise _OtherModelError("it has no layer of the name down_level_0_no_0")
    depth = 1 + max(int(match[2]) for match in named)
    convolutions = 1 + max(int(match[3]) for match in named)
    first = _array(layers, "down_level_0_no_0", "kernel")
    if first.ndim != 5 or depth > _DEEPEST or convolutions > _MOST_CONVOLUTIONS or first.shape[-1] > _WIDEST:
        raise _OtherModelError("its first layer is no convolution of volumes, or it has too many layers")
    ups = _numbered(layers, "conv3d_transpose")
    if not ups:
        raise _OtherModelError("it has no transposed convolutions")
    up = _array(layers, ups[0], "kernel")
    try:
        return published.IsoNetShape(
            filter_base=first.shape[-1],
            unet_depth=depth,
            convs_per_depth=convolutions,
            kernel=_sides(first),
            pool=None if _numbered(layers, "conv3d") else (2, 2, 2),
            batch_normalization=bool(_numbered(layers, "batch_normalization")),
            resampling_kernel=_sides(up),
        )
    except ValueError as error:
        raise _OtherModelError(str(error)) from error


def _configured(shape: published.IsoNetShape, text: str | None) -> published.IsoNetShape:
    """The shape with what only the stored description of the layers tells; without one, IsoNet's defaults."""
    if text is None:
        return shape
    for kind, settings in _described(text):
        if kind == "LeakyReLU" and not _is_near(settings.get("alpha", settings.get("negative_slope")), _SLOPE):
            raise _OtherModelError(f"its activation has another slope than {_SLOPE}")
        if kind == "BatchNormalization" and not _is_near(settings.get("epsilon"), _EPSILON):
            raise _OtherModelError(f"its normalisation has another epsilon than {_EPSILON}")
        if kind == "Dropout" and isinstance(settings.get("rate"), int | float) and 0 <= settings["rate"] < 1:
            shape = replace(shape, drop_out=float(settings["rate"]))
        if kind == "MaxPooling3D" and shape.pool is not None:
            shape = replace(shape, pool=_window(settings.get("pool_size")))
        if kind == "Conv3DTranspose" and _window(settings.get("strides")) != shape.window:
            raise _OtherModelError("it makes volumes larger by another factor than it made them smaller by")
    return shape


def _described(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Class and settings of each layer of a stored description."""
    try:
        layers = json.loads(text)["config"]["layers"]
        for layer in layers:
            yield str(layer["class_name"]), dict(layer["config"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _OtherModelError("the description of its layers cannot be read") from error


def _weights(layers: Layers, shape: published.IsoNetShape) -> Iterator[tuple[str, Tensor]]:
    depth, convolutions = shape.unet_depth, shape.convs_per_depth
    norms = iter(_numbered(layers, "batch_normalization"))
    # In the order that IsoNet makes them in: down, then up from the lowest level.
    order = [("encoders", "down", n) for n in range(depth)] + [("decoders", "up", n) for n in reversed(range(depth))]
    step = 4 if shape.batch_normalization else 3
    for ours, theirs, level in order:
        for index in range(convolutions):
            place = f"{ours}.{level}.{step * index}"
            yield from _convolution(layers, f"{theirs}_level_{level}_no_{index}", place)
            if shape.batch_normalization:
                yield from _norm(layers, next(norms, ""), f"{ours}.{level}.{step * index + 1}")
    if shape.pool is None:
        for level, name in enumerate(_numbered(layers, "conv3d")):
            yield from _convolution(layers, name, f"downs.{level}")
    for index, name in enumerate(_numbered(layers, "bottleneck_no")):
        yield from _convolution(layers, name, f"bottom.{2 * index}")
    for level, name in zip(reversed(range(depth)), _numbered(layers, "conv3d_transpose"), strict=False):
        yield from _convolution(layers, name, f"ups.{level}")
    yield from _convolution(layers, "fullconv_out", "last")


def _convolution(layers: Layers, name: str, ours: str) -> Iterator[tuple[str, Tensor]]:
    kernel = _array(layers, name, "kernel")
    if kernel.ndim != 5:
        raise _OtherModelError(f"'{name}' is no convolution of volumes")
    yield f"{ours}.weight", torch.from_numpy(np.ascontiguousarray(kernel.transpose(4, 3, 0, 1, 2)))
    yield f"{ours}.bias", torch.from_numpy(_array(layers, name, "bias").copy())


def _norm(layers: Layers, name: str, ours: str) -> Iterator[tuple[str, Tensor]]:
    for theirs, part in _NORM_PARTS.items():
        yield f"{ours}.{part}", torch.from_numpy(_array(layers, name, theirs).copy())
    yield f"{ours}.num_batches_tracked", torch.tensor(0)


def _check(state: Mapping[str, Tensor], shape: published.IsoNetShape) -> None:
    # On no device: what a file claims to be takes no memory.
    with torch.device("meta"):
        expected = published.IsoNetUNet(shape).state_dict()
    for name, value in expected.items():
        if name not in state or state[name].shape != value.shape:
            found = tuple(state[name].shape) if name in state else "missing"
            raise _OtherModelError(f"its part for {name} is {found}, where {tuple(value.shape)} was expected")
        if not bool(torch.isfinite(state[name]).all()):
            raise _OtherModelError(f"its part for {name} holds values that are no numbers")
    beyond = sorted(state.keys() - expected.keys())
    if beyond:
        raise _OtherModelError(f"it has a part for {beyond[0]}, which there is none of")


def _array(layers: Layers, name: str, part: str) -> NDArray[np.float32]:
    if name not in layers or part not in layers[name]:
        raise _OtherModelError(f"it has no {part} of a layer {name or 'that normalises'}")
    return layers[name][part]


def _numbered(layers: Layers, stem: str) -> list[str]:
    """Layers `stem`, `stem_1`, ... in their order; a session that made several networks counts on."""
    found = {}
    for name in layers:
        match = re.fullmatch(rf"{stem}(?:_(\d{{1,9}}))?", name)
        if match:
            found[name] = int(match[1] or 0)
    return sorted(found, key=found.__getitem__)


def _sides(kernel: NDArray[np.float32]) -> published.Triple:
    if kernel.ndim != 5:
        raise _OtherModelError("its layers are no convolutions of volumes")
    z, y, x = kernel.shape[:3]
    return z, y, x


def _window(value: object) -> published.Triple:
    if isinstance(value, list) and len(value) == 3 and all(type(side) is int and 1 <= side <= 4 for side in value):
        return value[0], value[1], value[2]
    raise _OtherModelError("a window of its layers is not told")


def _is_near(value: object, wanted: float) -> bool:
    return isinstance(value, int | float) and abs(value - wanted) < 1e-6
