"""Everything random of a correction's training: which crops, which rotations. It follows from a seed and a step."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from cryobridge.schemas.correction import CorrectionOptions

from ..training import generator_at
from ..volume import draw_corners, possible_centres, random_matrices, random_turns

_HELD_OUT, _FIXED, _ORDER, _STEP = range(4)
_ORDERS_KEPT = 2


@dataclass(frozen=True)
class Choice:
    """The random choices of some samples; the same for every network, and independent of the maps. All on the CPU.

    corners, noise_corners
        (b, 3) first voxels z, y, x of the crops of the maps, and of their noise.
    swaps
        (b,) which half a network sees: 0 the first, 1 the other one.
    turns
        (b,) one of the 24 rotations of the cube.
    matrices
        (b, 3, 3) rotations that take the place of those, or None.
    noise_signs
        (b,) -1 or 1.
    """

    corners: Tensor
    swaps: Tensor
    turns: Tensor
    matrices: Tensor | None
    noise_corners: Tensor
    noise_signs: Tensor


class Draws:
    """Chooses crops of a box and what is done with them.

    Parameters
    ----------
    mask
        (n, n, n), above 0 where crops may be centred.
    options
        Of the training.
    seed
        Of what is decided once: the crops kept out, and those of a training that draws its crops once.
    """

    def __init__(self, mask: Tensor, options: CorrectionOptions, seed: int) -> None:
        self._options, self._box = options, mask.shape[-1]
        # The published method never moves a cube; ours does, so that a particle near the box's edge is sampled too.
        self._centres = possible_centres(mask, options.cube_size if options.loss == "published" else 1)
        self.held_out: Choice | None = None
        if options.held_out:
            corners = self._corners(options.held_out, generator_at(seed, _HELD_OUT))
            self.held_out = _fixed_choice(corners)
            self._centres = _apart_from(self._centres, corners, options.cube_size)
        self._fixed = None
        if not options.fresh_crops:
            self._fixed = self._corners(options.n_subvolume, generator_at(seed, _FIXED))
        self._orders: OrderedDict[tuple[int, int], Tensor] = OrderedDict()

    def at(self, seed: int, step: int) -> Choice:
        """The choices of a step."""
        options, count = self._options, self._options.batch
        generator = generator_at(seed, _STEP, step)
        corners = self._corners(count, generator) if self._fixed is None else self._of_fixed(seed, step)
        free = float(torch.rand((), generator=generator)) < options.free_rotations
        identity = options.loss == "published"
        return Choice(
            corners=corners,
            swaps=(torch.rand(count, generator=generator) < 0.5).long(),
            turns=torch.tensor(random_turns(count, generator, identity=identity)),
            matrices=random_matrices(count, generator) if free else None,
            noise_corners=self._corners(count, generator),
            noise_signs=torch.randint(0, 2, (count,), generator=generator) * 2.0 - 1.0,
        )

    def _of_fixed(self, seed: int, step: int) -> Tensor:
        """Corners of a step where all were drawn once: each pass over them has an order of its own."""
        assert self._fixed is not None  # noqa: S101 - only called where they are
        count, size = self._options.batch, len(self._fixed)
        places = range(step * count, (step + 1) * count)
        return torch.stack([self._fixed[self._order(seed, place // size)[place % size]] for place in places])

    def _order(self, seed: int, turn: int) -> Tensor:
        key = seed, turn
        if key not in self._orders:
            assert self._fixed is not None  # noqa: S101 - see above
            self._orders[key] = torch.randperm(len(self._fixed), generator=generator_at(seed, _ORDER, turn))
            while len(self._orders) > _ORDERS_KEPT:
                self._orders.popitem(last=False)
        return self._orders[key]

    def _corners(self, count: int, generator: torch.Generator) -> Tensor:
        return draw_corners(self._centres, self._box, self._options.cube_size, count, generator)


def _fixed_choice(corners: Tensor) -> Choice:
    """What is done with the crops kept out: every time the same, each with a rotation of its own."""
    count = len(corners)
    return Choice(
        corners=corners,
        swaps=torch.arange(count) % 2,
        turns=1 + torch.arange(count) % 23,
        matrices=None,
        noise_corners=corners.flip(0),
        noise_signs=torch.ones(count),
    )


def _apart_from(centres: Tensor, corners: Tensor, side: int) -> Tensor:
    """Centres away from those of the crops kept out; crops overlap, so what is held out is where they are centred."""
    reach = max(1, side // 8)
    apart = (centres[:, None] - (corners + side // 2)[None]).abs().amax(dim=2) > reach
    rest = centres[apart.all(dim=1)]
    return rest if len(rest) else centres
