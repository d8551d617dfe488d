"""The self-supervised correction of a pair of half-maps: train on their own crops, then predict.

The caller drives it: training and prediction are generators of steps, so that a worker can report, be cancelled, or
give way between two of them. What is learned lives in a `CorrectionState`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from cryobridge.schemas.correction import CorrectionOptions

from .correction_state import CorrectionState, Learner
from .draws import Choice, Draws
from .losses import ImprovedTerms, filtered, improved_loss, published_loss
from .noise import pair_noise, solvent_noise
from .rotations import spherical_window
from .subvolumes import padded_to, resampled_weight, take
from .tiling import SMALLEST_TILE, tiled

__all__ = ["CorrectionState", "StepReport", "predict", "predict_steps", "train"]

_WARM_UP_STEPS = 10
_DILATION_VOXELS = 4
_TILES_AT_ONCE = 4
_LEAST_DEVIATION = 1e-30


@dataclass(frozen=True)
class StepReport:
    """What one training step did; `held_out_loss` is the last one measured, or None."""

    step: int
    steps: int
    loss: float
    held_out_loss: float | None


@dataclass(frozen=True)
class _Material:
    """What crops are taken from, for one learner: (what the network sees, what it is compared with) pairs."""

    pairs: tuple[tuple[Tensor, Tensor], ...]
    noise: Tensor | None
    mask: Tensor
    weight: Tensor


def train(
    state: CorrectionState,
    half1: Tensor,
    half2: Tensor,
    weight3d: Tensor,
    mask: Tensor | None,
    options: CorrectionOptions,
) -> Iterator[StepReport]:
    """Train the state's network(s) on two half-maps, in place, one step for each value drawn.

    Parameters
    ----------
    state
        A new one, or the one of the iteration before (a warm start: fewer steps, moments of the optimiser kept).
        It is whole after every step, so the generator may be closed at any time.
    half1, half2
        (n, n, n), on any scale.
    weight3d
        (n, n, n // 2 + 1) in [0, 1], DC first: how well each Fourier voxel is measured, e.g. the 3DFSC.
    mask
        (n, n, n), above 0 where the particle is; None means everywhere.
    options
        As the state was made with, as far as the networks' shape goes.

    Yields
    ------
    StepReport

    Raises
    ------
    ValueError
        If shapes do not agree, a map is not finite or constant, or the loss stops being finite.
    """
    materials = _materials(state, half1, half2, weight3d, mask, options)
    draws = Draws(materials[0].mask, options, torch.Generator().manual_seed(_seed(options, state)))
    warm = state.steps_done > 0
    steps = options.total_steps(warm=warm)
    watch = _Watch(options)
    for step in range(steps):
        rate = _learning_rate(options, step, steps, warm=warm)
        where, choice = draws.draw()
        losses = [
            _learn(learner, material, where, choice, rate, state.steps_done, options)
            for learner, material in zip(state.learners, materials, strict=True)
        ]
        state.steps_done += 1
        loss = sum(losses) / len(losses)
        if not math.isfinite(loss):
            raise ValueError(f"the loss is {loss} at step {step + 1} of {steps}")
        if draws.held_out is not None and (step + 1) % options.held_out_every == 0:
            watch.look(_held_out_loss(state, materials, draws.held_out, options))
        yield StepReport(step + 1, steps, loss, watch.last)
        if watch.enough:
            return


def predict(
    state: CorrectionState,
    which_half: int,
    volume: Tensor,
    weight3d: Tensor,
    mask: Tensor | None,
    options: CorrectionOptions,
) -> Tensor:
    """Run the network of a half over its map where the mask, widened by 4 voxels, is; elsewhere the map stays.

    Parameters
    ----------
    state
        Trained with the same options.
    which_half
        1 or 2; in independent mode each has its own network.
    volume
        (n, n, n), as given to `train`.
    weight3d, mask, options
        As given to `train`.

    Returns
    -------
    (n, n, n) float32 on the state's device, on the volume's scale. An untrained network that starts as the identity
    gives the volume (with `filter_input`: the volume times the weight).

    Raises
    ------
    ValueError
        If shapes do not agree, or the map is not finite or constant.
    """
    result: Tensor | None = None
    for step in predict_steps(state, which_half, volume, weight3d, mask, options):
        result = step
    if result is None:
        raise ValueError("the prediction ended without a map")
    return result


def predict_steps(
    state: CorrectionState,
    which_half: int,
    volume: Tensor,
    weight3d: Tensor,
    mask: Tensor | None,
    options: CorrectionOptions,
) -> Iterator[Tensor | None]:
    """Do as `predict`, drawing None between batches of tiles and the map at last."""
    _check(weight3d, mask, volume)
    n = volume.shape[-1]
    mask = None if mask is None else mask.to(state.device)
    seen, level, deviation = _normalised(volume.to(state.device), weight3d.to(state.device), mask, options)
    tile = max(options.crop_size, SMALLEST_TILE)
    tile = tile if n > tile else 8 * math.ceil(n / 8)
    where = None if mask is None else _dilated(mask > 0)
    with torch.no_grad(), state.learner(which_half).averaged(options) as network:
        for result in tiled(_runner(network, options, state.device), seen, where, tile, _TILES_AT_ONCE):
            yield None if result is None else result * deviation + level


def _seed(options: CorrectionOptions, state: CorrectionState) -> int:
    # A warm call must not see the crops of the first one again.
    return (options.seed * 1_000_003 + state.steps_done) % 2**63


def _check(weight3d: Tensor, mask: Tensor | None, *maps: Tensor) -> None:
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


def _normalised(
    volume: Tensor, weight3d: Tensor, mask: Tensor | None, options: CorrectionOptions
) -> tuple[Tensor, float, float]:
    """What the network sees of a map (n, n, n), and the level and scale that were taken away.

    Published: mean and deviation of the whole box. Ours: those of what the weight leaves, inside the mask, which do
    not depend on how much noise the solvent holds.
    """
    volume = volume.float()
    seen = filtered(volume, weight3d) if options.filter_input else volume
    counted = seen if mask is None or options.loss == "published" else seen[mask > 0.5]
    if counted.numel() < 2:
        counted = seen
    level, deviation = float(counted.mean(dtype=torch.float64)), float(counted.double().std())
    if not math.isfinite(deviation) or deviation < _LEAST_DEVIATION:
        raise ValueError("a map is constant, or nothing of it passes the weight")
    return (seen - level) / deviation, level, deviation


def _materials(
    state: CorrectionState,
    half1: Tensor,
    half2: Tensor,
    weight3d: Tensor,
    mask: Tensor | None,
    options: CorrectionOptions,
) -> list[_Material]:
    _check(weight3d, mask, half1, half2)
    n = half1.shape[-1]
    device = state.device
    weight3d = weight3d.to(device, torch.float32)
    mask = None if mask is None else mask.to(device)
    side = options.cube_size
    inputs, targets = [], []
    for half in (half1.to(device), half2.to(device)):
        seen, level, deviation = _normalised(half, weight3d, mask, options)
        inputs.append(padded_to(seen, side))
        targets.append(padded_to((half.float() - level) / deviation, side))
    where = torch.ones(n, n, n, device=device) if mask is None else mask
    where = functional.pad(where, _zero_pads(n, side)) if n < side else where
    weight = resampled_weight(weight3d, n, side)
    if options.mode == "shared":
        noise = pair_noise(*inputs) * options.noise if options.noise > 0 else None
        return [_Material(((inputs[0], targets[1]), (inputs[1], targets[0])), noise, where, weight)]
    materials = []
    for index, (seen, target) in enumerate(zip(inputs, targets, strict=True)):
        noise = None
        if options.noise > 0:
            generator = torch.Generator().manual_seed(_seed(options, state) + index)
            noise = solvent_noise(seen, where, generator)
            noise = None if noise is None else noise * options.noise
        materials.append(_Material(((seen, target),), noise, where, weight))
    return materials


def _zero_pads(n: int, side: int) -> tuple[int, ...]:
    before = side // 2 - n // 2
    return (before, side - n - before) * 3


class _Watch:
    """Follows the held-out loss and says when it no longer falls."""

    def __init__(self, options: CorrectionOptions) -> None:
        self._patience, self._best, self._looks = options.patience, math.inf, 0
        self.last: float | None = None

    def look(self, loss: float) -> None:
        self._looks = 0 if loss < self._best else self._looks + 1
        self._best, self.last = min(self._best, loss), loss

    @property
    def enough(self) -> bool:
        return self._patience is not None and self._looks >= self._patience


def _learning_rate(options: CorrectionOptions, step: int, steps: int, *, warm: bool) -> float:
    if options.schedule == "constant":
        return options.learning_rate
    # The moments of a cold optimiser are not yet worth a full step.
    start = 1.0 if warm else min(1.0, (step + 1) / _WARM_UP_STEPS)
    return options.learning_rate * start * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _learn(
    learner: Learner,
    material: _Material,
    where: Tensor,
    choice: Choice,
    rate: float,
    steps_done: int,
    options: CorrectionOptions,
) -> float:
    """One step of the optimiser; returns the loss."""
    for group in learner.optimiser.param_groups:
        group["lr"] = rate
    network = _runner(learner.runnable(options), options, material.weight.device)
    learner.optimiser.zero_grad(set_to_none=True)
    part = options.batch // options.acc_batches
    total = torch.zeros((), device=material.weight.device)
    for start in range(0, options.batch, part):
        members = slice(start, start + part)
        loss = _loss(network, material, where, choice, members, options) / options.acc_batches
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    if options.gradient_clip is not None:
        nn.utils.clip_grad_norm_(learner.network.parameters(), options.gradient_clip)
    learner.optimiser.step()
    if options.ema > 0:
        learner.update_average(options.ema, steps_done)
    return float(total)


def _loss(
    network: Callable[[Tensor], Tensor],
    material: _Material,
    where: Tensor,
    choice: Choice,
    members: slice,
    options: CorrectionOptions,
) -> Tensor:
    side, corners, turns = options.cube_size, where[members], choice.turns[members]
    if len(material.pairs) == 2:
        crops = [torch.stack([take(v, corners, side) for v in kind]) for kind in zip(*material.pairs, strict=True)]
        order = torch.tensor(choice.swaps[members], dtype=torch.long)
        row = torch.arange(len(corners))
        seen, other_seen, target = crops[0][order, row], crops[0][1 - order, row], crops[1][order, row]
    else:
        seen, target = (take(volume, corners, side) for volume in material.pairs[0])
        other_seen = None
    if options.loss == "published":
        return published_loss(network, seen, other_seen, material.weight, turns, alpha=options.alpha, beta=options.beta)
    noise = None
    if material.noise is not None:
        signs = choice.noise_signs[members].to(seen.device)
        noise = take(material.noise, choice.noise_corners[members], side) * signs
    matrices = None if choice.matrices is None else choice.matrices[members].to(seen.device)
    window = None if matrices is None else spherical_window(side, seen.device)
    terms = ImprovedTerms(options.alpha, options.anchor, options.margin)
    return improved_loss(
        network, seen, target, material.weight, turns, terms, noise=noise, matrices=matrices, window=window
    )


def _held_out_loss(
    state: CorrectionState, materials: list[_Material], held_out: Tensor, options: CorrectionOptions
) -> float:
    """The loss of the averaged networks on the crops kept out, each with the same rotation every time."""
    count = len(held_out)
    choice = Choice(
        swaps=[index % 2 == 1 for index in range(count)],
        turns=[1 + index % 23 for index in range(count)],
        matrices=None,
        noise_corners=held_out.flip(0),
        noise_signs=torch.ones(count, 1, 1, 1, 1),
    )
    total = 0.0
    for learner, material in zip(state.learners, materials, strict=True):
        with torch.no_grad(), learner.averaged(options) as network:
            run = _runner(network, options, state.device)
            for start in range(0, count, options.batch):
                members = slice(start, min(count, start + options.batch))
                share = (members.stop - start) / count
                total += float(_loss(run, material, held_out, choice, members, options)) * share
    return total / len(materials)


def _runner(network: nn.Module, options: CorrectionOptions, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The network in the precision asked for; filters and losses around it stay in float32.

    A CPU always computes in float32: oneDNN's bfloat16 convolutions in 3D now and then return NaN from finite input.
    """
    reduced = options.precision == "bfloat16" and device.type != "cpu"

    def run(volumes: Tensor) -> Tensor:
        volumes = volumes.contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(device.type, torch.bfloat16, enabled=reduced):
            result: Tensor = network(volumes)
        return result.float()

    return run


def _dilated(inside: Tensor) -> Tensor:
    reach = 2 * _DILATION_VOXELS + 1
    grown = functional.max_pool3d(inside.float()[None, None], reach, stride=1, padding=_DILATION_VOXELS)
    return grown[0, 0] > 0.5
