"""Pre-training of the small network on simulated half-maps, as a task of `core.training`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ..training import Batch, Learned, Network
from .practice import Practice

MARGIN = 4


class PretrainingTask:
    """What the network learns from simulated half-maps: the truth, where the mask is and a little beyond.

    Parameters
    ----------
    learned
        One network of two channels.
    practice
        Where crops come from.
    """

    def __init__(self, learned: Learned, practice: Practice) -> None:
        self._learned = learned
        self._practice = practice

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The network by name."""
        return {name: learner.network for name, learner in self._learned.named.items()}

    @property
    def fixed_shapes(self) -> bool:
        """Nothing in the losses waits for the host."""
        return True

    def batch(self, seed: int, step: int) -> Batch:
        """Crops of a step; the practice has a seed of its own, so each step has its crops whatever `seed` is."""
        crops = self._practice.at(step)
        device = self._learned.device
        found = {"seen": crops.seen, "mask": crops.mask, "truth": crops.truth, "weight": crops.weight}
        return {name: value.to(device) for name, value in found.items()}

    def losses(self, name: str, network: Network, batch: Batch) -> Mapping[str, Tensor]:
        """Mean squared difference to the truth of crops (b, 1, c, c, c), over its own where that is large; a scalar."""
        seen = torch.cat([batch["seen"], batch["mask"]], dim=1).contiguous(memory_format=torch.channels_last_3d)
        inner = slice(MARGIN, seen.shape[-1] - MARGIN)
        truth, weight = (batch[key][..., inner, inner, inner] for key in ("truth", "weight"))
        residual = network(seen)[..., inner, inner, inner] - truth
        # A crop of very little in a wide mask would drown the others.
        power = (truth.square() * weight).mean(dim=(1, 2, 3, 4)).clamp(min=1.0)
        return {"truth": ((residual.square() * weight).mean(dim=(1, 2, 3, 4)) / power).mean()}

    def held_out(self) -> Batch | None:
        """None: no scene is seen twice."""
        return None

    def score(self, name: str, network: Network, batch: Batch) -> Tensor:
        """The loss of crops (b, 1, c, c, c), a scalar."""
        return self.losses(name, network, batch)["truth"]

    def tensors(self) -> Iterator[Tensor]:
        """Nothing: crops (b, 1, c, c, c) are made on the host."""
        return iter(())
