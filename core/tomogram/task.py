"""The missing-wedge correction as a task of `core.training`: what a network learns from blocks of tomograms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from cryobridge.schemas.wedge import WedgeOptions

from ..training import Batch, Learned, Network, generator_at
from .doubled import DoubledViews, View, random_matrices, take, take_turned
from .material import TomogramBlock, weakened
from .network import TwoHeadUNet
from .shells import shares
from .wedge import filtered

NAME = "wedge"
_FIRST_REFILL = 40
_FREE_ROTATIONS = 8
_ROTATIONS, _CROPS = 1, 2
SimulatedAt = Callable[[int], Mapping[str, Tensor]]
"""Simulated samples of a step, as `WedgeTask.batch` gives them."""


class WedgeTask:
    """One network that learns to fill the wedge of some blocks.

    Parameters
    ----------
    learned
        Its network, named `wedge`.
    blocks
        What is learned from, on the network's device; large enough for the cubes, margins left out.
    options
        Of the training.
    seed
        Of everything drawn.
    practice
        Where given, half of every batch is simulated, so that what was learned before stays; not with blocks that
        have a transfer.
    """

    fixed_shapes = False

    def __init__(
        self,
        learned: Learned,
        blocks: Sequence[TomogramBlock],
        options: WedgeOptions,
        seed: int,
        practice: SimulatedAt | None = None,
    ) -> None:
        self._learned = learned
        self._blocks = list(blocks)
        self._options = options
        self._seed = seed
        self._practice = practice
        self._makers = [DoubledViews(block, options.cube_size) for block in self._blocks]
        self._views: list[tuple[list[View], list[View]]] = []
        self._transfers: dict[int, Tensor] = {}
        self._ramp = edge_ramp(options.cube_size, learned.device)

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The network by its name."""
        return {name: learner.network for name, learner in self._learned.named.items()}

    def renews_at(self, step: int) -> bool:
        """Whether the blocks are filled anew before a step. Only there can a training be left off and gone on with."""
        return step == 0 or (step >= _FIRST_REFILL and (step - _FIRST_REFILL) % self._options.refill == 0)

    def batch(self, seed: int, step: int) -> Batch:
        """Cubes (batch, 1, c, c, c) seen and asked for, and weights of both answers, (batch, 1, c, c, c // 2 + 1)."""
        if self.renews_at(step) or not self._views:
            self._renew(step)
        generator = generator_at(seed, _CROPS, step)
        simulated = {} if self._practice is None else self._practice(step)
        count = self._options.batch - (next(iter(simulated.values())).shape[0] if simulated else 0)
        samples = [self._sample(generator) for _ in range(count)]
        found = {name: torch.stack([one[name] for one in samples])[:, None] for name in samples[0]}
        return {
            name: torch.cat((value, simulated[name].to(value.device))) if simulated else value
            for name, value in found.items()
        }

    def held_out(self) -> Batch | None:
        """Nothing is kept out."""
        return None

    def losses(self, name: str, network: Network, batch: Batch) -> Mapping[str, Tensor]:
        """What is wrong in what was measured and what was taken away, scalars, for cubes (n, 1, side, side, side)."""
        return wedge_losses(network, batch, self._ramp, self._options)

    def score(self, name: str, network: Network, batch: Batch) -> Tensor:
        """The loss itself, a scalar, for cubes (n, 1, side, side, side)."""
        return torch.stack(list(self.losses(name, network, batch).values())).sum()

    def tensors(self) -> Iterator[Tensor]:
        """Blocks and their views, (nz, ny, nx) each."""
        for block in self._blocks:
            yield from (block.halves, block.seen, block.weight)
        for cube, free in self._views:
            for view in (*cube, *free):
                yield from (view.volumes, view.kept, view.hidden)
        yield from self._transfers.values()
        yield self._ramp

    @torch.no_grad()
    def _renew(self, step: int) -> None:
        generator = generator_at(self._seed, _ROTATIONS, step)
        self._views = []
        for maker in self._makers:
            block = maker.block
            spectra = torch.fft.rfftn(block.seen, dim=(-3, -2, -1))
            if step >= _FIRST_REFILL:
                with self._learned.named[NAME].averaged(self._options) as network:
                    filling = network(block.seen[:, None])[:, 1]
                filled = weakened(torch.fft.rfftn(filling, dim=(-3, -2, -1)), block)
                spectra = spectra + (1 - block.weight) * filled
            wanted = _FREE_ROTATIONS if self._options.free_rotations > 0 else 0
            matrices = random_matrices(wanted, generator)
            self._views.append((maker.of_cube(spectra), maker.free(spectra, matrices)))

    def _sample(self, generator: torch.Generator) -> dict[str, Tensor]:
        side = self._options.cube_size
        number = _below(len(self._blocks), generator)
        block, (cube, free) = self._blocks[number], self._views[number]
        corner = torch.tensor([block.margin + _below(n - side - 2 * block.margin + 1, generator) for n in block.shape])
        half = _below(2, generator)
        if float(torch.rand((), generator=generator)) < self._options.free_rotations:
            view = free[_below(len(free), generator)]
            seen = take_turned(view.volumes[half], corner, side, view.matrix)
            target = take_turned(block.halves[1 - half], corner, side, view.matrix)
        else:
            view = cube[_below(len(cube), generator)]
            orientation = view.orientations[_below(len(view.orientations), generator)]
            seen = orientation.apply(take(view.volumes[half], corner, side))
            target = orientation.apply(take(block.halves[1 - half], corner, side))
        sample = {"seen": seen, "target": target, "kept": view.kept, "hidden": view.hidden}
        if any(one.transfer is not None for one in self._blocks):
            sample["transfer"] = self._transfer(number)
        return sample

    def _transfer(self, number: int) -> Tensor:
        """By what answers to cubes of a block are weakened, (c, c, c // 2 + 1)."""
        if number not in self._transfers:
            block, sides = self._blocks[number], (self._options.cube_size,) * 3
            device = block.seen.device
            whole = torch.ones(*sides[:2], sides[2] // 2 + 1, device=device)
            self._transfers[number] = whole if block.transfer is None else block.transfer.magnitude(sides, device)
        return self._transfers[number]


def wedge_losses(network: Network, batch: Batch, ramp: Tensor, options: WedgeOptions) -> dict[str, Tensor]:
    """Weighted squared errors of both answers to cubes (n, 1, side, side, side), by one transform of what is wrong.

    Where the batch has a transfer, (n, 1, side, side, side // 2 + 1), answers are weakened by it before they are
    compared.
    """
    answers = network(batch["seen"].contiguous(memory_format=torch.channels_last_3d))
    if "transfer" in batch:
        answers = filtered(answers, batch["transfer"])
    wrong = (batch["target"] - answers) * ramp
    errors = torch.fft.rfftn(wrong, dim=(-3, -2, -1), norm="ortho").abs().square()
    weights = torch.cat((options.measured_weight * batch["kept"], options.wedge_weight * batch["hidden"]), dim=1)
    counts = shares(ramp.shape, ramp.device)
    sums = (errors * weights * counts).sum(dim=(-3, -2, -1)).mean(dim=0) / ramp.numel()
    return {"measured": sums[0], "wedge": sums[1]}


def edge_ramp(side: int, device: torch.device | str = "cpu") -> Tensor:
    """A window (side, side, side) that falls to 0 over an eighth of a cube at its faces."""
    width = max(1, side // 8)
    steps = (torch.arange(side, device=device) + 0.5).minimum((side - torch.arange(side, device=device)) - 0.5)
    line = 0.5 - 0.5 * torch.cos(math.pi * (steps / width).clamp(0, 1))
    return line[:, None, None] * line[None, :, None] * line[None, None, :]


def new_network(options: WedgeOptions) -> TwoHeadUNet:
    """An untrained network of the width that the options ask for."""
    return TwoHeadUNet(options.base_width)


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
