"""The missing-wedge correction as a task of `core.training`: what a network learns from blocks of tomograms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from cryobridge.schemas.wedge import WedgeOptions

from ..training import Batch, Learned, Network, generator_at
from .doubled import DoubledViews, View, random_matrices, take, take_turned
from .kept_out import CubePlaces, all_places, divided_places
from .material import TomogramBlock, weakened
from .network import TwoHeadUNet
from .shells import shares
from .wedge import filtered

NAME = "wedge"
_FIRST_REFILL = 40
_FREE_ROTATIONS = 8
_ROTATIONS, _CROPS, _KEPT_OUT = 1, 2, 3
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
        Of the training; with `held_out` so many cubes are kept out of it, if the blocks have room for that.
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
        side, turned = options.cube_size, options.free_rotations > 0
        self._shares = divided_places(blocks, side, turned=turned) if options.held_out else all_places(blocks, side)
        self._held_out: Batch | None = None

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
        found = _stacked(samples)
        return {
            name: torch.cat((value, simulated[name].to(value.device))) if simulated else value
            for name, value in found.items()
        }

    @torch.no_grad()
    def held_out(self) -> Batch | None:
        """Cubes that nothing was learned from, as those of a batch; None where none were kept out.

        They are the same at every look: a view emptied twice, by the tomogram's wedge and by a turned one, and filled
        by nobody. Were the first wedge filled by the network, as it is in training after a while, its answers would be
        part of what it is examined with, and a loss of one epoch could not be set against that of another. What is
        asked for was measured in the other half. The cubes are turned by rotations of the cube only, so that none
        reaches beyond its place.
        """
        if self._held_out is None and self._shares.kept:
            generator = generator_at(self._seed, _KEPT_OUT, 0)
            samples: list[dict[str, Tensor]] = []
            kept = self._shares.kept
            for number, places in enumerate(kept):
                maker = self._makers[places.block]
                views = maker.of_cube(torch.fft.rfftn(maker.block.seen, dim=(-3, -2, -1)))
                count = len(range(number, self._options.held_out, len(kept)))
                samples += [self._cut(places, views, [], 0.0, generator) for _ in range(count)]
            self._held_out = _stacked(samples)
        return self._held_out

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
        if self._held_out is not None:
            yield from self._held_out.values()
        yield self._ramp

    @torch.no_grad()
    def _renew(self, step: int) -> None:
        generator = generator_at(self._seed, _ROTATIONS, step)
        self._views = []
        learned = {places.block for places in self._shares.learned}
        for number, maker in enumerate(self._makers):
            block = maker.block
            if number not in learned:
                self._views.append(([], []))
                continue
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
        places = self._shares.learned[_below(len(self._shares.learned), generator)]
        return self._cut(places, *self._views[places.block], self._options.free_rotations, generator)

    def _cut(
        self,
        places: CubePlaces,
        cube: Sequence[View],
        free: Sequence[View],
        turned_share: float,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """A cube of a block, seen in one of its views, and what is asked for there."""
        side, block = self._options.cube_size, self._blocks[places.block]
        corner = places.drawn(generator)
        half = _below(2, generator)
        if float(torch.rand((), generator=generator)) < turned_share:
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
            sample["transfer"] = self._transfer(places.block)
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


def _stacked(samples: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([one[name] for one in samples])[:, None] for name in samples[0]}


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
