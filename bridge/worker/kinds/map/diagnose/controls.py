"""The controls of `map.diagnose`: what a network makes of halves without a common signal."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from cryobridge.core.correction import prepare, prepared_inputs
from cryobridge.core.diagnosis import corrected_for_control, mean_score, noise_pair, phase_randomised_pair, power_gain
from cryobridge.core.fourier import fsc
from cryobridge.core.training import Parking
from cryobridge.schemas.kinds.map.correct import CorrectOptions

from ....loop import Progress
from ....training.pair import predicted
from ..correct.prepare import plan_of
from ..measured import Measured
from .network import Network

_RANDOMISE_BELOW = 0.8
_CONTROL_OFFSET = 2
"""Shells from where phases are random to where they count, as in the correction for a mask."""


@dataclass(frozen=True)
class Controls:
    """What a network makes of halves without a common signal.

    curves
        By name, (n // 2 + 1,): FSC of noise before and after the network, of the half-maps after it, and of the
        half-maps with random phases after it; the half-maps' corrected for the latter.
    noise_before, noise_after
        Mean FSC of pure noise up to the limit.
    noise_power
        Power of noise after the network over that before.
    true_phases, random_phases
        Mean FSC after the network, beyond where phases are random; NaN where they could not be randomised.
    """

    curves: dict[str, Tensor]
    noise_before: float
    noise_after: float
    noise_power: float
    true_phases: float
    random_phases: float


def controls(
    measured: Measured, voxel_A: float, network: Network, seed: int, parking: Parking
) -> Generator[Progress | None, None, Controls]:
    """Run a network over noise, over the half-maps, and over the half-maps with random phases.

    The network's maps are compared as they are, before anything measured is put together with them.
    """
    generator = torch.Generator().manual_seed(seed)
    options = CorrectOptions(method=network.options.loss)
    if not network.options.see_mask and options.weighting == "noise":
        options = options.model_copy(update={"weight": "c_ref"})
    plan, halves = plan_of(options, measured.limit_A), (measured.half1, measured.half2)
    sight = prepare(halves, measured.mask, voxel_A, plan).sight
    mask, n = sight.mask, sight.weight.shape[0]

    def seen(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        if sight.levels is None:
            return prepared_inputs(pair, measured.mask, voxel_A, plan)
        return sight.start_of(pair[0], 1), sight.start_of(pair[1], 2)

    def through(halves: tuple[Tensor, Tensor]) -> Generator[None, None, tuple[Tensor, Tensor]]:
        maps = []
        for which, half in enumerate(halves, start=1):
            maps.append((yield from predicted(network.state, which, half, sight, network.options, parking)))
        return maps[0], maps[1]

    shell = torch.arange(n // 2 + 1, device=measured.curve.device)
    within = (shell > 0) & (shell < measured.limit_shell)
    yield Progress("controls: pure noise through the network", 0.0)
    noise = seen(noise_pair(measured.half1, measured.half2, generator))
    noise_maps = yield from through(noise)
    yield Progress("controls: the half-maps through the network", 0.35)
    maps = yield from through(seen(halves))
    curves = {"noise_before": fsc(*noise, mask), "noise_after": fsc(*noise_maps, mask), "true_phases": fsc(*maps, mask)}
    true_phases = random_phases = math.nan
    randomised_from = _first_below(fsc(measured.half1, measured.half2), _RANDOMISE_BELOW)
    if randomised_from is not None:
        yield Progress("controls: random phases through the network", 0.7)
        randomised = seen(phase_randomised_pair(measured.half1, measured.half2, randomised_from, generator))
        curves["random_phases"] = fsc(*(yield from through(randomised)), mask)
        curves["corrected"] = corrected_for_control(curves["true_phases"], curves["random_phases"])
        beyond = within & (shell >= randomised_from + _CONTROL_OFFSET)
        true_phases, random_phases = (mean_score(curves[key], beyond) for key in ("true_phases", "random_phases"))
    beyond_sight = measured.half1.shape[-1] // 2 - n // 2
    return Controls(
        curves={name: pad(curve, (0, beyond_sight)) for name, curve in curves.items()},
        noise_before=mean_score(curves["noise_before"], within),
        noise_after=mean_score(curves["noise_after"], within),
        noise_power=power_gain(noise[0], noise_maps[0], mask),
        true_phases=true_phases,
        random_phases=random_phases,
    )


def _first_below(curve: Tensor, threshold: float) -> int | None:
    """First shell but 0 in which a curve (m,) is below a threshold."""
    below = (curve[1:] < threshold).nonzero()
    return int(below[0]) + 1 if below.numel() else None
