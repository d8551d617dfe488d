"""Training on random scenes: what a network knows of cells before it sees a tomogram, and practice beside one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from cryobridge.schemas.wedge import WedgeOptions

from ..training import Batch, Learned, Network, generator_at
from .material import emphasis_of, joined_gain
from .scene import Scene, draw_scene
from .shells import shares, shell_means
from .task import edge_ramp, wedge_losses
from .wedge import wedge_weight

_CROPS = 3
_CROPS_OF_SCENE = 1


class Practice:
    """Cubes of random scenes, step by step.

    Parameters
    ----------
    seed
        Of the scenes.
    count
        Cubes a step, each of a scene of its own.
    side
        Of the cubes, at most that of a scene.
    scene_side
        Of the scenes.
    """

    def __init__(self, seed: int, count: int, side: int, scene_side: int = 48) -> None:
        self._seed = seed
        self._count = count
        self._side = side
        self._scene_side = scene_side

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """What `WedgeTask.batch` gives, of simulated data whose truth is asked for."""
        scenes = self._count // _CROPS_OF_SCENE
        generator = generator_at(self._seed, _CROPS, step)
        parts = [
            self._of(draw_scene(self._seed, step * scenes + n, self._scene_side), generator) for n in range(scenes)
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _of(self, scene: Scene, generator: torch.Generator) -> dict[str, Tensor]:
        side, shape = self._side, scene.truth.shape
        weight = wedge_weight(scene.wedge, shape)
        # A network is shown single halves while it learns from a tomogram, and their mean in the end.
        if float(torch.rand((), generator=generator)) < 0.5:
            data, gain = scene.halves[0], scene.agreement
        else:
            data, gain = scene.halves.mean(0), joined_gain(scene.agreement)
        seen = torch.fft.irfftn(torch.fft.rfftn(data) * gain.at(shape), s=shape)
        power = shell_means(torch.fft.rfftn(scene.halves[0]).abs().square(), shape, weight)
        emphasis = emphasis_of(scene.agreement.values, power.values).at((side,) * 3)
        # Scenes of all contrasts count alike: with no answer at all the loss is about 1.
        emphasis_of_scene = emphasis_of(scene.agreement.values, power.values).at(shape)
        truth = torch.fft.rfftn(scene.truth, norm="ortho").abs().square()
        whole = (truth * emphasis_of_scene * shares(shape)).sum() / truth.numel()
        emphasis = emphasis / whole.clamp(min=1e-6)
        own = wedge_weight(scene.wedge, (side,) * 3)
        found: dict[str, list[Tensor]] = {"seen": [], "target": []}
        for _ in range(_CROPS_OF_SCENE):
            z, y, x = (int(torch.randint(n - side + 1, (), generator=generator)) for n in shape)
            box = (slice(z, z + side), slice(y, y + side), slice(x, x + side))
            found["seen"].append(seen[box])
            found["target"].append(scene.truth[box])
        stacked = {name: torch.stack(some)[:, None] for name, some in found.items()}
        weights = {"kept": emphasis * own, "hidden": emphasis * (1 - own)}
        return stacked | {name: value.expand(_CROPS_OF_SCENE, 1, *value.shape) for name, value in weights.items()}


class ScenesTask:
    """One network, and nothing but scenes."""

    fixed_shapes = False

    def __init__(self, learned: Learned, options: WedgeOptions, practice: Practice) -> None:
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
        """What is wrong in the measured and in the missing part, scalars."""
        return wedge_losses(network, batch, self._ramp, self._options)

    def score(self, name: str, network: Network, batch: Batch) -> Tensor:
        """The loss itself, a scalar."""
        return torch.stack(list(self.losses(name, network, batch).values())).sum()

    def tensors(self) -> Iterable[Tensor]:
        """The ramp of the cubes."""
        return (self._ramp,)
