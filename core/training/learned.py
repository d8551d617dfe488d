"""What a training has learned: its networks by name with all that their optimisers know, and for how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Self

import torch
from torch import Tensor, nn

from cryobridge.schemas.training import TrainingOptions

from .learner import Learner

STEPS = "steps_done"


class Learned:
    """Networks by name, and how many steps they were trained.

    It turns into plain tensors and back, so that it can be stored without pickling and a training goes on after any
    restart.

    Parameters
    ----------
    modules
        The networks, as a task names them, on the device.
    options
        Of their training.
    device
        Where they are.
    """

    def __init__(self, modules: Mapping[str, nn.Module], options: TrainingOptions, device: torch.device) -> None:
        self.named = {name: Learner(network, options) for name, network in modules.items()}
        self.device = device
        self.steps_done = 0

    def tensors(self) -> dict[str, Tensor]:
        """Everything as CPU tensors by name (for safetensors); a copy, later training does not change it."""
        found = {STEPS: torch.tensor(self.steps_done)}
        for key, learner in self.named.items():
            found |= {f"{key}.{name}": value for name, value in learner.tensors().items()}
        return found

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` gave.

        Raises
        ------
        ValueError
            If something is missing, of another shape, or not finite.
        """
        if STEPS not in tensors:
            raise ValueError(f"stored network: {STEPS} is missing")
        for key, learner in self.named.items():
            prefix = f"{key}."
            learner.load_tensors({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        self.steps_done = int(tensors[STEPS])

    def to(self, device: torch.device | str) -> Self:
        """Move everything to a device, e.g. to the CPU while another process needs the GPU."""
        self.device = torch.device(device)
        for learner in self.named.values():
            learner.to(self.device)
        return self

    def held(self) -> Iterator[Tensor]:
        """Every tensor of the networks and their optimisers that lies on the device."""
        for learner in self.named.values():
            yield from learner.held()
