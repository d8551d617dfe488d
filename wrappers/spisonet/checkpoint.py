"""spIsoNet's checkpoints as weights of our network of the same layers.

The two networks do the same arithmetic with `norm="batch"`, so a checkpoint gives the same values in either; only
the names differ. spIsoNet saves a table with `model_state_dict` and its loss curve, and depending on the version
the names of a parallel or compiled model stand in front.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from cryobridge.core.nets import UNet3D
from cryobridge.schemas.errors import InputInvalid

from ..formats.torch_archive import read_named_tensors

BASES = (8, 16, 32, 64)
"""Channels of the first level: spIsoNet's 16, 32 and 64 (its default), and our smallest."""
_TABLE = "model_state_dict"
_WRAPPED = re.compile(r"^(?:module\.|_orig_mod\.)+")
_RENAMED = [
    (re.compile(rf"^{theirs}\."), ours)
    for theirs, ours in (
        (r"encoder\.module_dict\.first_conv", "first."),
        (r"encoder\.module_dict\.conv_stack_(\d)\.net", r"encoders.\1."),
        (r"encoder\.module_dict\.stride_conv_(\d)\.net", r"downs.\1."),
        (r"encoder\.module_dict\.bottleneck\.net", "bottom."),
        (r"decoder\.module_dict\.deconv_(\d)", r"ups.\1."),
        (r"decoder\.module_dict\.conv_stack_(\d)\.net", r"decoders.\1."),
        ("final", "last."),
    )
]
"""What spIsoNet calls each part of the network, and what `UNet3D` calls it; blocks are counted alike."""


@dataclass(frozen=True)
class SpisonetCheckpoint:
    """Weights of a trained network."""

    state: dict[str, Tensor]
    """By the names of `UNet3D(base, norm="batch")`, float32 on the CPU (counts of batches: int64)."""
    base: int
    """Channels of the first level."""


def read_checkpoint(path: str | os.PathLike[str]) -> SpisonetCheckpoint:
    """Read a spIsoNet checkpoint (`.pt`); no code in it is run.

    Raises
    ------
    InputInvalid
        If it cannot be read as a PyTorch file, holds code, is not of spIsoNet's network of depth 3, lacks a tensor, or
        has one of another shape or one that is not finite; one sentence.
    """
    name = os.fspath(path)
    found = {_our_name(key): value for key, value in read_named_tensors(path, _TABLE).items()}
    first = found.get("first.weight")
    if first is None:
        raise InputInvalid(f"{name}: is a PyTorch file of another network, not a spIsoNet checkpoint")
    base = first.shape[0] if first.ndim else 0
    if base not in BASES:
        raise InputInvalid(
            f"{name}: is a network of width {base}; spIsoNet's are {', '.join(str(width) for width in BASES[1:])} wide"
        )
    with torch.device("meta"):
        expected = UNet3D(base, "batch").state_dict()
    unknown = sorted(found.keys() - expected.keys())
    if unknown:
        raise InputInvalid(f"{name}: holds {unknown[0]!r}, which spIsoNet's network of depth 3 has not")
    return SpisonetCheckpoint({key: _checked(name, key, like, found.get(key)) for key, like in expected.items()}, base)


def _our_name(name: str) -> str:
    name = _WRAPPED.sub("", name)
    for theirs, ours in _RENAMED:
        renamed, count = theirs.subn(ours, name)
        if count:
            return renamed
    return name


def _checked(file: str, name: str, like: Tensor, value: Tensor | None) -> Tensor:
    if value is None:
        raise InputInvalid(f"{file}: a part of the network is missing ({name}); it was saved incompletely")
    if value.shape != like.shape:
        raise InputInvalid(f"{file}: {name} is {tuple(value.shape)} where {tuple(like.shape)} is needed; it is damaged")
    value = value.to(like.dtype)
    if not bool(torch.isfinite(value).all()):
        raise InputInvalid(f"{file}: {name} holds NaN or infinite values; the training that made it had failed")
    if name.endswith("running_var") and bool((value < 0).any()):
        raise InputInvalid(f"{file}: {name} holds negative variances; it is damaged")
    return value
