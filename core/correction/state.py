"""What a correction has learned: networks, averaged weights, moments of the optimiser, and how long it trained.

It turns into plain tensors and back, so that it can be stored without pickling and a refinement goes on warm after
any restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from cryobridge.schemas.correction import CorrectionOptions

from ..nets import Norm, UNet3D

_NORMS: tuple[Norm, ...] = ("batch", "group", "none")
_LAYOUT = "layout"
_STEPS = "steps_done"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class Learner:
    """One network with its optimiser and its exponentially averaged weights."""

    def __init__(self, options: CorrectionOptions, device: torch.device, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = UNet3D(options.base_width, options.norm, options.identity_start)
        self.network = network.to(device)
        # The type stubs know no Module.to with a memory format alone.
        self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.average = {name: value.detach().clone() for name, value in self.network.named_parameters()}
        self.compiled: nn.Module | None = None

    def runnable(self, options: CorrectionOptions) -> nn.Module:
        """The network to call: compiled once and kept, where that was asked for and a GPU is there."""
        device = next(self.network.parameters()).device
        if not options.compile or device.type != "cuda":
            return self.network
        if self.compiled is None:
            self.compiled = cast("nn.Module", torch.compile(self.network))
        return self.compiled

    @torch.no_grad()
    def update_average(self, decay: float, steps_done: int) -> None:
        """Move the averaged weights towards the present ones; early steps count more, so that none lag behind."""
        decay = min(decay, (1 + steps_done) / (10 + steps_done))
        for name, value in self.network.named_parameters():
            self.average[name].lerp_(value, 1 - decay)

    @contextmanager
    def averaged(self, options: CorrectionOptions) -> Iterator[nn.Module]:
        """The network with its averaged weights, for as long as the block lasts, in evaluation mode."""
        own = {name: value.detach().clone() for name, value in self.network.named_parameters()}
        if options.ema > 0:
            self._load(self.average)
        self.network.eval()
        try:
            yield self.runnable(options)
        finally:
            self._load(own)
            self.network.train()

    @torch.no_grad()
    def _load(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.network.named_parameters():
            parameter.copy_(values[name])

    def tensors(self) -> dict[str, Tensor]:
        """Everything, by name, on the CPU."""
        found = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        found |= {f"average.{name}": value for name, value in self.average.items()}
        for name, parameter in self.network.named_parameters():
            for moment, value in self.optimiser.state.get(parameter, {}).items():
                found[f"{moment}.{name}"] = value
        return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in found.items()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` gave.

        Raises
        ------
        ValueError
            If a tensor is missing, has another shape, or is not finite.
        """
        expected = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        expected |= {f"average.{name}": value for name, value in self.average.items()}
        for name, value in expected.items():
            if name not in tensors or tensors[name].shape != value.shape:
                shape = tuple(tensors[name].shape) if name in tensors else "missing"
                raise ValueError(f"stored network: {name} is {shape}, expected {tuple(value.shape)}")
            if value.is_floating_point() and not bool(torch.isfinite(tensors[name]).all()):
                raise ValueError(f"stored network: {name} is not finite")
        device = next(self.network.parameters()).device
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
                    moments[moment] = torch.empty_like(parameter).copy_(value.to(device))
            self.optimiser.state[parameter] = moments

    def to(self, device: torch.device) -> None:
        """Move everything to a device."""
        self.network.to(device)
        self.average = {name: value.to(device) for name, value in self.average.items()}
        for moments in self.optimiser.state.values():
            for name, value in moments.items():
                if name != "step":
                    moments[name] = value.to(device)


class CorrectionState:
    """The learners of a refinement: one in shared mode, one for each half in independent mode."""

    def __init__(self, options: CorrectionOptions, device: torch.device) -> None:
        count = 2 if options.mode == "independent" else 1
        self.device = device
        # Networks that start alike could agree on what is in neither half.
        self.learners = [Learner(options, device, 2 * options.seed + index) for index in range(count)]
        self.steps_done = 0
        self._layout = _layout(options)

    @classmethod
    def new(cls, options: CorrectionOptions, device: torch.device | str) -> Self:
        """An untrained state."""
        return cls(options, torch.device(device))

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], options: CorrectionOptions, device: torch.device | str
    ) -> Self:
        """Put together what `tensors` gave.

        Raises
        ------
        ValueError
            If it is of other options (width, normalisation, mode), incomplete or not finite.
        """
        state = cls(options, torch.device(device))
        layout = tensors.get(_LAYOUT)
        if layout is None or layout.tolist() != state._layout:
            raise ValueError(
                f"stored network: made for {None if layout is None else layout.tolist()} "
                f"(networks, width, normalisation), these options want {state._layout}"
            )
        if _STEPS not in tensors:
            raise ValueError(f"stored network: {_STEPS} is missing")
        for index, learner in enumerate(state.learners):
            prefix = f"{index}."
            learner.load_tensors({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        state.steps_done = int(tensors[_STEPS])
        return state

    def tensors(self) -> dict[str, Tensor]:
        """Everything as CPU tensors by name (for safetensors); a copy, later training does not change it."""
        found = {_LAYOUT: torch.tensor(self._layout), _STEPS: torch.tensor(self.steps_done)}
        for index, learner in enumerate(self.learners):
            found |= {f"{index}.{name}": value for name, value in learner.tensors().items()}
        return found

    def learner(self, which_half: int) -> Learner:
        """The network that corrects half 1 or 2."""
        if which_half not in (1, 2):
            raise ValueError(f"which_half is 1 or 2, not {which_half}")
        return self.learners[which_half - 1 if len(self.learners) == 2 else 0]

    def to(self, device: torch.device | str) -> Self:
        """Move everything to a device, e.g. to the CPU while another process needs the GPU."""
        self.device = torch.device(device)
        for learner in self.learners:
            learner.to(self.device)
        return self


class StoredLayout(NamedTuple):
    """What the networks of a stored state are."""

    networks: int
    """1 in shared mode, 2 in independent mode."""
    base_width: int
    norm: Norm


def stored_layout(tensors: Mapping[str, Tensor]) -> StoredLayout:
    """Tell which options the state that gave these tensors was made with.

    Raises
    ------
    ValueError
        If they are no state's.
    """
    values = tensors[_LAYOUT].tolist() if _LAYOUT in tensors else None
    match values:
        case [1 | 2 as networks, int(base_width), 0 | 1 | 2 as norm]:
            return StoredLayout(int(networks), base_width, _NORMS[int(norm)])
    raise ValueError("stored network: what it was made with is missing")


def _layout(options: CorrectionOptions) -> list[int]:
    return [2 if options.mode == "independent" else 1, options.base_width, _NORMS.index(options.norm)]
