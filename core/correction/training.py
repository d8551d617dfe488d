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

from ..training import ALONE, Ranks, TrainingRecord, check_divides, share_of
from ..volume import SMALLEST_TILE, spherical_window, take, tiled
from .draws import Choice, Draws
from .losses import ImprovedTerms, improved_loss, published_loss
from .material import Material, check_maps, materials, normalised
from .state import CorrectionState, Learner

__all__ = ["CorrectionState", "StepReport", "TrainingRecord", "predict", "predict_steps", "train"]

_WARM_UP_STEPS = 10
_DILATION_VOXELS = 4
_TILES_AT_ONCE = 4


@dataclass(frozen=True)
class StepReport:
    """What one training step did; `held_out_loss` is the last one measured, or None."""

    step: int
    steps: int
    loss: float
    held_out_loss: float | None


def train(
    state: CorrectionState,
    half1: Tensor,
    half2: Tensor,
    weight3d: Tensor,
    mask: Tensor | None,
    options: CorrectionOptions,
    *,
    record: TrainingRecord | None = None,
    ranks: Ranks = ALONE,
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
    record
        Filled step by step. One with entries is of a call that was broken off after them: the training goes on where
        it was, and on a CPU ends with bitwise the network that it would have had, given the state as it was then.
    ranks
        Processes that train together, each with the same state, maps and options: a rank learns from its share of
        every batch, and all step by the mean gradient. But for rounding that is what one process does with the whole
        batch; batch normalisation takes the statistics of each rank's share alone, and the mean of its running ones.

    Yields
    ------
    StepReport

    Raises
    ------
    ValueError
        If shapes do not agree, a map is not finite or constant, the loss stops being finite, the record is of another
        training, or the ranks cannot share a batch evenly.
    """
    record = TrainingRecord() if record is None else record
    record.check(state.steps_done, options)
    check_divides(options.batch, ranks)
    started_at = state.steps_done - len(record.losses)
    seed = _seed(options, started_at)
    learned_from = materials(half1, half2, weight3d, mask, options, device=state.device, seed=seed)
    draws = Draws(learned_from[0].mask, options, torch.Generator().manual_seed(seed))
    draws.skip(len(record.losses))
    warm = started_at > 0
    steps = options.total_steps(warm=warm)
    record.stopped_early = record.is_enough(options)
    for step in range(len(record.losses), steps):
        if record.stopped_early:
            return
        rate = _learning_rate(options, step, steps, warm=warm)
        where, choice = draws.draw()
        losses = [
            _learn(learner, material, where, choice, rate, state.steps_done, options, ranks)
            for learner, material in zip(state.learners, learned_from, strict=True)
        ]
        state.steps_done += 1
        loss = sum(losses) / len(losses)
        if not math.isfinite(loss):
            raise ValueError(f"the loss is {loss} at step {step + 1} of {steps}")
        record.losses.append(loss)
        if draws.held_out is not None and (step + 1) % options.held_out_every == 0:
            record.held_out.append(_held_out_loss(state, learned_from, draws.held_out, options, ranks))
            record.stopped_early = record.is_enough(options)
        yield StepReport(step + 1, steps, loss, record.held_out[-1] if record.held_out else None)


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
    check_maps(weight3d, mask, volume)
    n = volume.shape[-1]
    mask = None if mask is None else mask.to(state.device)
    seen, level, deviation = normalised(volume.to(state.device), weight3d.to(state.device), mask, options)
    tile = max(options.crop_size, SMALLEST_TILE)
    tile = tile if n > tile else 8 * math.ceil(n / 8)
    where = None if mask is None else _dilated(mask > 0)
    with torch.no_grad(), state.learner(which_half).averaged(options) as network:
        for result in tiled(_runner(network, options, state.device), seen, where, tile, _TILES_AT_ONCE):
            yield None if result is None else result * deviation + level


def _seed(options: CorrectionOptions, started_at: int) -> int:
    # A warm call must not see the crops of the first one again.
    return (options.seed * 1_000_003 + started_at) % 2**63


def _learning_rate(options: CorrectionOptions, step: int, steps: int, *, warm: bool) -> float:
    if options.schedule == "constant":
        return options.learning_rate
    # The moments of a cold optimiser are not yet worth a full step.
    start = 1.0 if warm else min(1.0, (step + 1) / _WARM_UP_STEPS)
    return options.learning_rate * start * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _learn(
    learner: Learner,
    material: Material,
    where: Tensor,
    choice: Choice,
    rate: float,
    steps_done: int,
    options: CorrectionOptions,
    ranks: Ranks,
) -> float:
    """One step of the optimiser on this rank's share of the batch; returns the loss of the whole batch."""
    for group in learner.optimiser.param_groups:
        group["lr"] = rate
    network = _runner(learner.runnable(options), options, material.weight.device)
    learner.optimiser.zero_grad(set_to_none=True)
    share = share_of(options.batch, ranks)
    where, choice = where[share], choice.of(share)
    part = options.batch // options.acc_batches
    total = torch.zeros((), device=material.weight.device)
    for start in range(0, len(where), part):
        members = slice(start, start + part)
        corners = where[members]
        loss = _loss(network, material, corners, choice.of(members), options) / (len(where) / len(corners))
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    gradients = [parameter.grad for parameter in learner.network.parameters() if parameter.grad is not None]
    running = [buffer for buffer in learner.network.buffers() if buffer.is_floating_point()]
    ranks.mean_([total, *gradients, *running])
    if options.gradient_clip is not None:
        nn.utils.clip_grad_norm_(learner.network.parameters(), options.gradient_clip)
    learner.optimiser.step()
    if options.ema > 0:
        learner.update_average(options.ema, steps_done)
    return float(total)


def _loss(
    network: Callable[[Tensor], Tensor],
    material: Material,
    corners: Tensor,
    choice: Choice,
    options: CorrectionOptions,
) -> Tensor:
    """The loss of one part of a batch: crops at (b, 3) corners, with the choices of each."""
    side, turns = options.cube_size, choice.turns
    if len(material.pairs) == 2:
        crops = [torch.stack([take(v, corners, side) for v in kind]) for kind in zip(*material.pairs, strict=True)]
        order = torch.tensor(choice.swaps, dtype=torch.long)
        row = torch.arange(len(corners))
        seen, other_seen, target = crops[0][order, row], crops[0][1 - order, row], crops[1][order, row]
    else:
        seen, target = (take(volume, corners, side) for volume in material.pairs[0])
        other_seen = None
    if options.loss == "published":
        return published_loss(network, seen, other_seen, material.weight, turns, alpha=options.alpha, beta=options.beta)
    noise = None
    if material.noise is not None:
        signs = choice.noise_signs.to(seen.device)
        noise = take(material.noise, choice.noise_corners, side) * signs
    matrices = None if choice.matrices is None else choice.matrices.to(seen.device)
    window = None if matrices is None else spherical_window(side, seen.device)
    terms = ImprovedTerms(options.alpha, options.anchor, options.margin)
    return improved_loss(
        network, seen, target, material.weight, turns, terms, noise=noise, matrices=matrices, window=window
    )


def _held_out_loss(
    state: CorrectionState,
    learned_from: list[Material],
    held_out: Tensor,
    options: CorrectionOptions,
    ranks: Ranks,
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
    mine = share_of(count, ranks)
    held_out, choice = held_out[mine], choice.of(mine)
    total = 0.0
    for learner, material in zip(state.learners, learned_from, strict=True):
        with torch.no_grad(), learner.averaged(options) as network:
            run = _runner(network, options, state.device)
            for start in range(0, len(held_out), options.batch):
                members = slice(start, start + options.batch)
                corners = held_out[members]
                total += float(_loss(run, material, corners, choice.of(members), options)) * (len(corners) / count)
    # One number for all ranks, since they must all stop at the same step.
    agreed = torch.tensor(total, dtype=torch.float64, device=state.device)
    ranks.mean_([agreed])
    return float(agreed) * ranks.count / len(learned_from)


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
