"""What a training takes its crops from: both halves as the network sees them, their noise, the mask, the weight."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cryobridge.schemas.correction import CorrectionOptions

from ..volume import padded_to, resampled_weight
from .losses import filtered
from .noise import pair_noise, solvent_noise

_LEAST_DEVIATION = 1e-30
_LEAST_RANGE = 1e-3
"""Of a weight that is brought to 0 ... 1; the published program's own."""


@dataclass(frozen=True)
class Material:
    """What crops are taken from, for one learner.

    `pairs` are (what the network sees, what it is compared with); `noise` is None where none is added. All are
    (m, m, m) with m the box or, where that is smaller, the crop's side; `weight` is at the crop's size.
    """

    pairs: tuple[tuple[Tensor, Tensor], ...]
    noise: Tensor | None
    mask: Tensor
    weight: Tensor


def materials(
    half1: Tensor,
    half2: Tensor,
    weight3d: Tensor,
    mask: Tensor | None,
    options: CorrectionOptions,
    *,
    device: torch.device,
    seed: int,
) -> list[Material]:
    """Prepare two half-maps (n, n, n) for training: one material for each learner, on the device.

    Parameters
    ----------
    half1, half2, weight3d, mask, options
        As `core.correction.train` takes them.
    device
        Where to.
    seed
        Of the noise that independent learners get.

    Raises
    ------
    ValueError
        See `check_maps` and `normalised`.
    """
    check_maps(weight3d, mask, half1, half2)
    n = half1.shape[-1]
    weight3d = weight3d.to(device, torch.float32)
    weight = crop_weight(weight3d, n, options)
    mask = None if mask is None else mask.to(device)
    side = options.cube_size
    inputs, targets = [], []
    for half in (half1.to(device), half2.to(device)):
        seen, level, deviation = normalised(half, weight3d, mask, options)
        inputs.append(padded_to(seen, side))
        targets.append(padded_to((half.float() - level) / deviation, side))
    where = torch.ones(n, n, n, device=device) if mask is None else mask
    where = functional.pad(where, _zero_pads(n, side)) if n < side else where
    if options.mode == "shared":
        noise = pair_noise(*inputs) * options.noise if options.noise > 0 else None
        return [Material(((inputs[0], targets[1]), (inputs[1], targets[0])), noise, where, weight)]
    found = []
    for index, (seen, target) in enumerate(zip(inputs, targets, strict=True)):
        noise = None
        if options.noise > 0:
            generator = torch.Generator().manual_seed(seed + index)
            noise = solvent_noise(seen, where, generator)
            noise = None if noise is None else noise * options.noise
        found.append(Material(((seen, target),), noise, where, weight))
    return found


def crop_weight(weight3d: Tensor, n: int, options: CorrectionOptions) -> Tensor:
    """The weight (n, n, n // 2 + 1) of a box of n at the size of a crop, (c, c, c // 2 + 1) in [0, 1].

    Ours: negative values, which mean nothing, are set to 0 first. Published (spIsoNet's `rescale_fsc`): after
    resampling, which averages them with their neighbours, and what is left is brought to 0 ... 1. A 3DFSC of a badly
    measured direction is noise about 0: half as large when it is averaged before it is clipped. DC stays at DC, where
    the published program reads everything half a voxel off.
    """
    if options.loss != "published":
        return resampled_weight(weight3d.clamp(0, 1), n, options.cube_size)
    weight = resampled_weight(weight3d, n, options.cube_size).clamp(min=0)
    # DC is 1 in every 3DFSC; the largest value that was averaged with others is one of the rest.
    rest = weight.flatten()[1:]
    lowest, highest = rest.min(), rest.max()
    if float(highest - lowest) <= _LEAST_RANGE:
        return weight.clamp(max=1)
    return ((weight - lowest) / (highest - lowest)).clamp(0, 1)


def check_maps(weight3d: Tensor, mask: Tensor | None, *maps: Tensor) -> None:
    """Raise ValueError unless maps (n, n, n) and weight (n, n, n // 2 + 1) are of one box and finite."""
    n = maps[0].shape[-1]
    for volume in maps:
        if tuple(volume.shape) != (n, n, n):
            raise ValueError(f"maps must be cubes of one size, got {tuple(volume.shape)} with a box of {n}")
        if not bool(torch.isfinite(volume).all()):
            raise ValueError("a map is not finite")
    if tuple(weight3d.shape) != (n, n, n // 2 + 1):
        raise ValueError(f"weight {tuple(weight3d.shape)} is not a half spectrum {(n, n, n // 2 + 1)}")
    if not bool(torch.isfinite(weight3d).all()):
        raise ValueError("the weight is not finite")
    if mask is not None and tuple(mask.shape) != (n, n, n):
        raise ValueError(f"mask {tuple(mask.shape)} does not fit maps of {(n, n, n)}")


def normalised(
    volume: Tensor, weight3d: Tensor, mask: Tensor | None, options: CorrectionOptions
) -> tuple[Tensor, float, float]:
    """What the network sees of a map (n, n, n), and the level and scale that were taken away.

    Published: mean and deviation of the whole box. Ours: those of what the weight leaves, inside the mask, which do
    not depend on how much noise the solvent holds.

    Raises
    ------
    ValueError
        If the map is constant, or nothing of it passes the weight.
    """
    volume = volume.float()
    seen = filtered(volume, weight3d.clamp(0, 1)) if options.filter_input else volume
    counted = seen if mask is None or options.loss == "published" else seen[mask > 0.5]
    if counted.numel() < 2:
        counted = seen
    level, deviation = float(counted.mean(dtype=torch.float64)), float(counted.double().std())
    if not math.isfinite(deviation) or deviation < _LEAST_DEVIATION:
        raise ValueError("a map is constant, or nothing of it passes the weight")
    return (seen - level) / deviation, level, deviation


def _zero_pads(n: int, side: int) -> tuple[int, ...]:
    before = side // 2 - n // 2
    return (before, side - n - before) * 3
