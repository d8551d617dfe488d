"""Training on random scenes: what a network knows of cells before it sees a tomogram, and practice beside one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from cryobridge.schemas.wedge import WedgeOptions

from ..training import Batch, Learned, Network, generator_at
from .material import joined_gain
from .orientations import keeping
from .scene import TomogramScene, draw_scene
from .shells import Curve, shares, shell_means
from .task import SimulatedAt, edge_ramp, wedge_losses
from .wedge import wedge_weight

PLAINLY = 0.75
"""As the network that comes with the program learned in the end, and as one practises beside a tomogram."""
_CROPS = 3
_SCENE_ROOM = 8
_LEAST_AGREEMENT = 0.02
_FEW = 3.0
"""Shells below have so few values that each of these would count for more than its noise allows."""


class ScenePractice:
    """Cubes of random scenes, step by step.

    Parameters
    ----------
    seed
        Of the scenes.
    count
        Cubes a step, each of a scene of its own.
    side
        Of the cubes; scenes are a little larger.
    plainly
        Which part of what is wrong in the missing wedge counts as it is, the rest by shells as `emphasis_of_truth`
        says. By shells alone fine things are learned first; what a wide flat membrane lacks lies in a few values that
        are large, and is learned when these count.
    """

    def __init__(self, seed: int, count: int, side: int, plainly: float = PLAINLY) -> None:
        self._seed = seed
        self._count = count
        self._side = side
        self._plainly = plainly

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """What `WedgeTask.batch` gives, of simulated data whose truth is asked for."""
        generator = generator_at(self._seed, _CROPS, step)
        numbers = range(step * self._count, (step + 1) * self._count)
        parts = [self._of(draw_scene(self._seed, n, self._side + _SCENE_ROOM), generator) for n in numbers]
        return {name: torch.stack([part[name] for part in parts])[:, None] for name in parts[0]}

    def _of(self, scene: TomogramScene, generator: torch.Generator) -> dict[str, Tensor]:
        side, shape = self._side, scene.truth.shape
        # A network is shown single halves while it learns from a tomogram, and their mean in the end.
        if float(torch.rand((), generator=generator)) < 0.5:
            data, gain = scene.halves[0], scene.agreement
        else:
            data, gain = scene.halves.mean(0), joined_gain(scene.agreement)
        seen = torch.fft.irfftn(torch.fft.rfftn(data) * gain.at(shape), s=shape)
        emphasis = emphasis_of_truth(scene).at((side,) * 3)
        plain = 1 / scene.truth.square().sum().clamp(min=1e-30) * scene.truth.numel()
        own = wedge_weight(scene.wedge, (side,) * 3)
        z, y, x = (int(torch.randint(n - side + 1, (), generator=generator)) for n in shape)
        box = (slice(z, z + side), slice(y, y + side), slice(x, x + side))
        turns = keeping(scene.wedge)
        turn = turns[int(torch.randint(len(turns), (), generator=generator))]
        return {
            "seen": turn.apply(seen[box]).contiguous(),
            "target": turn.apply(scene.truth[box]).contiguous(),
            "kept": emphasis * own,
            "hidden": (self._plainly * plain + (1 - self._plainly) * emphasis) * (1 - own),
        }


def emphasis_of_truth(scene: TomogramScene) -> Curve:
    """How much each shell counts in a loss: all shells alike, but for the root of how far the halves agree in them.

    An answer is as good as its correlation with the truth in every shell: so what is wrong counts by how much there is
    of the truth, and a shell of few values as much as one of many. With no answer at all the loss is a little
    above one half.
    """
    shape = scene.truth.shape
    truth = torch.fft.rfftn(scene.truth, norm="ortho").abs().square()
    power, agreement = shell_means(truth, shape).values, scene.agreement.values
    values = (torch.arange(len(power)) + 0.5).clamp(min=_FEW).square()
    counted = agreement.sqrt() / (power.clamp(min=1e-30) * values)
    emphasis = Curve(torch.where(agreement > _LEAST_AGREEMENT, counted, 0.0))
    whole = (truth * emphasis.at(shape) * shares(shape)).sum() / truth.numel()
    return Curve(emphasis.values / whole.clamp(min=1e-30))


class ScenesTask:
    """One network, and nothing but scenes."""

    fixed_shapes = False

    def __init__(self, learned: Learned, options: WedgeOptions, practice: SimulatedAt) -> None:
        self._learned = learned
        self._options = options
        self._practice = practice
        self._ramp = edge_ramp(options.cube_size, learned.device)

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The network by its name."""
        return {name: learner.network for name, learner in self._learned.named.items()}

    def batch(self, seed: int, step: int) -> Batch:
        """The cubes of a step."""
        return {name: value.to(self._learned.device) for name, value in self._practice(step).items()}

    def held_out(self) -> Batch | None:
        """Nothing: every scene is new."""
        return None

    def losses(self, name: str, network: Network, batch: Batch) -> Mapping[str, Tensor]:
        """What is wrong in the measured and in the missing part, scalars, for cubes (n, 1, side, side, side)."""
        return wedge_losses(network, batch, self._ramp, self._options)

    def score(self, name: str, network: Network, batch: Batch) -> Tensor:
        """The loss itself, a scalar, for cubes (n, 1, side, side, side)."""
        return torch.stack(list(self.losses(name, network, batch).values())).sum()

    def tensors(self) -> Iterable[Tensor]:
        """The ramp of the cubes, (side, side, side)."""
        return (self._ramp,)
