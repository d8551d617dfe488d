"""One network with its optimiser and its averaged weights, which turn into plain tensors and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from cryobridge.schemas.training import TrainingOptions

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class Learner:
    """One network while it learns.

    Parameters
    ----------
    network
        On the device that it is trained on.
    options
        Of its training.
    """

    def __init__(self, network: nn.Module, options: TrainingOptions) -> None:
        self.network = network
        self.optimiser = torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.average = {name: value.detach().clone() for name, value in network.named_parameters()}
        self._compiled: nn.Module | None = None
        self._set_aside: dict[str, Tensor] = {}

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def runnable(self, options: TrainingOptions) -> nn.Module:
        """The network to call: compiled once and kept, where that was asked for and a GPU is there."""
        if not options.compile or self.device.type != "cuda":
            return self.network
        if self._compiled is None:
            self._compiled = cast("nn.Module", torch.compile(self.network))
        return self._compiled

    @torch.no_grad()
    def update_average(self, decay: float, steps_done: int) -> None:
        """Move the averaged weights towards the present ones; early steps count more, so that none lag behind."""
        decay = min(decay, (1 + steps_done) / (10 + steps_done))
        for name, value in self.network.named_parameters():
            self.average[name].lerp_(value, 1 - decay)

    @contextmanager
    def averaged(self, options: TrainingOptions) -> Iterator[nn.Module]:
        """The network with its averaged weights, for as long as the block lasts, in evaluation mode."""
        self._set_aside = {name: value.detach().clone() for name, value in self.network.named_parameters()}
        if options.ema > 0:
            self._load(self.average)
        self.network.eval()
        try:
            yield self.runnable(options)
        finally:
            self._load(self._set_aside)
            self._set_aside = {}
            self.network.train()

    @torch.no_grad()
    def _load(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.network.named_parameters():
            parameter.copy_(values[name])

    def tensors(self) -> dict[str, Tensor]:
        """Everything, by name, on the CPU; a copy."""
        found = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        found |= {f"average.{name}": value for name, value in self.average.items()}
        for name, parameter in self.network.named_parameters():
            for moment, value in self.optimiser.state.get(parameter, {}).items():
                found[f"{moment}.{name}"] = value
        return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in found.items()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` gave; moments that are missing begin anew.

        Raises
        ------
        ValueError
            If a tensor is missing, has another shape, or is not finite.
        """
        self._check(tensors)
        self.network.load_state_dict({name: tensors[f"network.{name}"] for name in self.network.state_dict()})
        with torch.no_grad():
            for name, value in self.average.items():
                value.copy_(tensors[f"average.{name}"])
        for name, parameter in self.network.named_parameters():
            found = {moment: tensors.get(f"{moment}.{name}") for moment in _MOMENTS}
            moments = {moment: value.clone() for moment, value in found.items() if value is not None}
            if len(moments) != len(_MOMENTS):
                continue
            for moment, value in moments.items():
                if moment != "step":
                    moments[moment] = torch.empty_like(parameter).copy_(value.to(parameter.device))
            self.optimiser.state[parameter] = moments

    def _check(self, tensors: Mapping[str, Tensor]) -> None:
        expected = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        expected |= {f"average.{name}": value for name, value in self.average.items()}
        for name, value in expected.items():
            if name not in tensors or tensors[name].shape != value.shape:
                shape = tuple(tensors[name].shape) if name in tensors else "missing"
                raise ValueError(f"stored network: {name} is {shape}, expected {tuple(value.shape)}")
            if value.is_floating_point() and not bool(torch.isfinite(tensors[name]).all()):
                raise ValueError(f"stored network: {name} is not finite")

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        self.network.to(device)
        self.average = {name: value.to(device) for name, value in self.average.items()}
        for moments in self.optimiser.state.values():
            for name, value in moments.items():
                if name != "step":
                    moments[name] = value.to(device)

    def held(self) -> Iterator[Tensor]:
        """Every tensor that lies on the device: weights, buffers, averages, moments. Gradients are let go."""
        self.optimiser.zero_grad(set_to_none=True)
        yield from self.network.parameters()
        yield from self.network.buffers()
        yield from self.average.values()
        yield from self._set_aside.values()
        for moments in self.optimiser.state.values():
            yield from (value for name, value in moments.items() if name != "step")
