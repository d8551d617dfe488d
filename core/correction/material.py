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
from .published_weight import published_weight
from .sight import Sight

_LEAST_DEVIATION = 1e-30


@dataclass(frozen=True)
class Material:
    """What crops are taken from, for one learner.

    `pairs` are (what the network sees, what it is compared with); `noise` is None where none is added. All are
    (m, m, m) with m the box or, where that is smaller, the crop's side; `weight`, and `degrading`, the filter that
    networks see maps through, are at the crop's size. `filtered`: the maps went through that filter before we had them.
    `recorrupting`: noise like that of the one half there is, as networks see it and as they are compared with it; None
    where there are two halves, or no solvent to take it from.
    """

    pairs: tuple[tuple[Tensor, Tensor], ...]
    noise: Tensor | None
    mask: Tensor
    weight: Tensor
    degrading: Tensor | None = None
    filtered: bool = False
    recorrupting: tuple[Tensor, Tensor] | None = None


def materials(sight: Sight, options: CorrectionOptions, *, device: torch.device, seed: int) -> list[Material]:
    """Prepare what networks see of two half-maps for training: one material for each learner, on the device.

    Parameters
    ----------
    sight, options
        As `core.correction.trainer_of` takes them.
    device
        Where to.
    seed
        Of the noise that independent learners get.

    Raises
    ------
    ValueError
        See `check_maps` and `shown`.
    """
    sight = sight.on(device)
    check_maps(sight.weight, sight.mask, *sight.starts)
    n, side = sight.weight.shape[0], options.cube_size
    inputs, targets = [], []
    for start in sight.starts:
        seen, level, deviation = shown(start, sight, options)
        inputs.append(padded_to(seen, side))
        targets.append(padded_to((start.float() - level) / deviation, side))
    where = torch.ones(n, n, n, device=device) if sight.mask is None else sight.mask
    where = functional.pad(where, _zero_pads(n, side)) if n < side else where
    weight = crop_weight(sight.weight, n, options)
    degrading = None if sight.fraction is None else resampled_weight(sight.fraction, n, side)

    def material(
        pairs: tuple[tuple[Tensor, Tensor], ...],
        noise: Tensor | None,
        recorrupting: tuple[Tensor, Tensor] | None = None,
    ) -> Material:
        return Material(pairs, noise, where, weight, degrading, sight.filtered, recorrupting)

    if options.mode == "shared":
        noise = pair_noise(*inputs) * options.noise if options.noise > 0 else None
        return [material(((inputs[0], targets[1]), (inputs[1], targets[0])), noise)]
    found = []
    for index, (seen, target) in enumerate(zip(inputs, targets, strict=True)):
        noise, generator = None, torch.Generator().manual_seed(seed + index)
        if options.noise > 0:
            noise = solvent_noise(seen, where, generator)
            noise = None if noise is None else noise * options.noise
        found.append(material(((seen, target),), noise, _recorrupting(sight, index, side, generator)))
    return found


def _recorrupting(sight: Sight, index: int, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor] | None:
    """Noise to tell signal from noise with in one half alone, where networks see levelled maps."""
    start = sight.starts[index].float()
    if sight.fraction is None or sight.mask is None:
        return None
    drawn = solvent_noise(start, sight.mask, generator)
    return None if drawn is None else (padded_to(sight.seen(drawn), side), padded_to(drawn, side))


def crop_weight(weight3d: Tensor, n: int, options: CorrectionOptions) -> Tensor:
    """The weight (n, n, n // 2 + 1) of a box of n at the size of a crop, (c, c, c // 2 + 1) in [0, 1].

    Ours: negative values, which mean nothing, are set to 0 first, and every frequency keeps its place. Published: see
    `published_weight`. There they are set to 0 after they were averaged with their neighbours, and a 3DFSC of a badly
    measured direction is noise about 0: half as large when it is averaged before it is clipped.
    """
    if options.loss == "published":
        return published_weight(weight3d, options.cube_size)
    return resampled_weight(weight3d.clamp(0, 1), n, options.cube_size)


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


def shown(volume: Tensor, sight: Sight, options: CorrectionOptions) -> tuple[Tensor, float, float]:
    """What a network sees of a map (m, m, m), and the level and scale that were taken away.

    Levelled maps are on the networks' scale already.

    Raises
    ------
    ValueError
        If the map is constant, or nothing of it passes.
    """
    if sight.fraction is None:
        return normalised(volume, sight.weight, sight.mask, options)
    seen = sight.seen(volume.float())
    if not float(seen.std()) > _LEAST_DEVIATION:
        raise ValueError("a map is constant, or nothing of it passes the weight")
    return seen, 0.0, 1.0


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
