"""Crops of simulated half-maps with what a network should make of them: for pre-training, and against forgetting."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from ..directional import MOST_SIGNAL, fraction_of_signal, fsc3d, mean_phase_cosine, sampling_from_noise
from ..fourier import apply_filter, shell_index
from ..phantoms import REACH, Scene, draw_scene
from ..training import generator_at
from ..volume import draw_corners, possible_centres, random_turns, take, turn_each
from .level import levelling, signal_amplitude

_CROPS = 1
_OUTSIDE = 0.1


@dataclass(frozen=True)
class PracticeCrops:
    """Crops (b, 1, c, c, c) of what a network sees, the mask, and the truth, all on one scale; and voxel weights."""

    seen: Tensor
    mask: Tensor
    truth: Tensor
    weight: Tensor


@dataclass(frozen=True)
class _Ready:
    seen: tuple[Tensor, Tensor]
    truth: Tensor
    mask: Tensor
    centres: Tensor


class Practice:
    """Draws crops of random scenes, prepared just as a correction prepares half-maps.

    Parameters
    ----------
    seed
        Of the scenes and of what is cut out of them.
    count
        Crops at a time, each of a scene of its own.
    side
        Of the crops, at most the box.
    lifetime
        For how many steps a scene is used.
    box, reach
        Of the scenes, see `core.phantoms.draw_scene`.
    """

    def __init__(
        self,
        seed: int,
        count: int,
        side: int,
        *,
        lifetime: int = 16,
        box: int = 64,
        reach: tuple[float, float] = REACH,
    ) -> None:
        self._seed, self._count, self._side, self._lifetime, self._box = seed, count, side, lifetime, box
        self._reach = reach
        self._kept: OrderedDict[int, _Ready] = OrderedDict()

    def at(self, step: int) -> PracticeCrops:
        """The crops of a step, on the CPU; they follow from the seed and the step."""
        generator = generator_at(self._seed, _CROPS, step)
        parts = []
        for slot in range(self._count):
            # Slots change their scene at different steps, so that the work is spread.
            late = slot * self._lifetime // self._count
            number = (step + late) // self._lifetime * self._count + slot
            ready = self._ready(number)
            corner = draw_corners(ready.centres, self._box, self._side, 1, generator)
            seen = ready.seen[int(torch.randint(2, (), generator=generator))]
            crop = torch.cat([take(one, corner, self._side) for one in (seen, ready.mask, ready.truth)])
            turn = random_turns(1, generator, identity=True) * 3
            parts.append(turn_each(crop, turn))
        seen, mask, truth = torch.stack(parts).unbind(1)
        return PracticeCrops(seen, mask, truth, _OUTSIDE + (1 - _OUTSIDE) * mask)

    def _ready(self, number: int) -> _Ready:
        if number not in self._kept:
            self._kept[number] = _prepared(draw_scene(self._seed, number, self._box, reach=self._reach))
            while len(self._kept) > 2 * self._count:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]


def _prepared(scene: Scene) -> _Ready:
    fraction, filtering = _told(scene)
    halves = apply_filter(scene.half1, filtering), apply_filter(scene.half2, filtering)
    level = levelling(signal_amplitude(halves, fraction, scene.mask), scene.truth.shape[-1])
    seen = apply_filter(halves[0], level), apply_filter(halves[1], level)
    return _Ready(seen, apply_filter(scene.truth, level), scene.mask, possible_centres(scene.mask))


def _told(scene: Scene) -> tuple[Tensor, Tensor]:
    """What a correction would know of such half-maps: share of signal, and the filter it would put on them."""
    n, limit = scene.truth.shape[-1], scene.limit_shell
    if scene.regularised:
        values = fsc3d(scene.half1, scene.half2, scene.mask, limit_shell=limit, form="sum_ratio")
        return values.clamp(0, MOST_SIGNAL), (shell_index(n) < limit).float()
    sampling = sampling_from_noise(scene.half1, scene.half2, limit)
    agreement = mean_phase_cosine(scene.half1, scene.half2, scene.mask)
    fraction = fraction_of_signal(sampling, agreement, limit)
    return fraction, fraction
