"""Everything random of a training, drawn on the CPU from one seed and never from the maps themselves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cryobridge.schemas.correction import CorrectionOptions

from ..volume import draw_corners, possible_centres, random_matrices, random_turns


@dataclass(frozen=True)
class Choice:
    """The random choices of a step; the same for both learners, and independent of the maps."""

    swaps: list[bool]
    turns: list[int]
    matrices: Tensor | None
    noise_corners: Tensor
    noise_signs: Tensor

    def of(self, members: slice) -> Choice:
        """The choices of some members of the batch."""
        return Choice(
            swaps=self.swaps[members],
            turns=self.turns[members],
            matrices=None if self.matrices is None else self.matrices[members],
            noise_corners=self.noise_corners[members],
            noise_signs=self.noise_signs[members],
        )


class Draws:
    """Everything random of a training: which crops are kept out, and the choices of each step."""

    def __init__(self, mask: Tensor, options: CorrectionOptions, generator: torch.Generator) -> None:
        self._options, self._generator, self._box = options, generator, mask.shape[-1]
        side = options.cube_size
        self._centres = possible_centres(mask)
        self.held_out: Tensor | None = None
        if options.held_out:
            self.held_out = self._corners(options.held_out)
            # Crops overlap, so what is held out is where they are centred.
            reach = max(1, side // 8)
            apart = (self._centres[:, None] - (self.held_out + side // 2)[None]).abs().amax(dim=2) > reach
            rest = self._centres[apart.all(dim=1)]
            self._centres = rest if len(rest) else self._centres
        self._fixed = None if options.fresh_crops else self._corners(options.n_subvolume)
        self._order = torch.empty(0, dtype=torch.int64)

    def draw(self) -> tuple[Tensor, Choice]:
        """Corners (batch, 3) of the next step's crops, and its other choices."""
        options, generator = self._options, self._generator
        count = options.batch
        if self._fixed is None:
            where = self._corners(count)
        else:
            while len(self._order) < count:
                self._order = torch.cat((self._order, torch.randperm(len(self._fixed), generator=generator)))
            where, self._order = self._fixed[self._order[:count]], self._order[count:]
        free = float(torch.rand((), generator=generator)) < options.free_rotations
        return where, Choice(
            swaps=(torch.rand(count, generator=generator) < 0.5).tolist(),
            turns=random_turns(count, generator, identity=options.loss == "published"),
            matrices=random_matrices(count, generator) if free else None,
            noise_corners=self._corners(count),
            noise_signs=torch.randint(0, 2, (count, 1, 1, 1, 1), generator=generator) * 2.0 - 1.0,
        )

    def skip(self, steps: int) -> None:
        """Leave out the choices of so many steps, those that were trained before a resumed training goes on."""
        for _ in range(steps):
            self.draw()

    def _corners(self, count: int) -> Tensor:
        return draw_corners(self._centres, self._box, self._options.cube_size, count, self._generator)
