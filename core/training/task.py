"""What is to be learned, as a training sees it: networks, batches, losses, a score. This package knows no maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

Batch = Mapping[str, Tensor]
"""Samples of a step by name; the first axis of every tensor counts the samples."""
Network = Callable[..., Any]
"""A network as a task calls it: in the precision asked for, its results in float32."""


class TrainingTask(Protocol):
    """One thing to learn.

    Everything random of a step follows from a seed and the step's number, so that a training goes on anywhere
    without going through what was before.
    """

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Networks by name. Each has losses, an optimiser and a gradient norm of its own."""

    @property
    def fixed_shapes(self) -> bool:
        """Whether `losses` runs on tensors of the device alone: nothing in it waits for a value on the host."""

    def batch(self, seed: int, step: int) -> Batch:
        """The samples of a step, the same for every network."""

    def losses(self, name: str, network: Network, batch: Batch) -> Mapping[str, Tensor]:
        """Terms of the loss of one network on some samples, by name; their sum is what is made small.

        Each is a scalar, and a mean over the samples, so that parts of a batch add up.
        """

    def held_out(self) -> Batch | None:
        """Samples that are in no batch, to watch the training by; None where there are none."""

    def score(self, name: str, network: Network, batch: Batch) -> Tensor:
        """How badly a network does on held-out samples, a scalar and a mean over them."""

    def tensors(self) -> Iterable[Tensor]:
        """What the task itself holds on the device."""


def samples_in(batch: Batch) -> int:
    """How many samples a batch holds."""
    return next(iter(batch.values())).shape[0]


def members_of(batch: Batch, members: slice) -> dict[str, Tensor]:
    """Some of the samples of a batch."""
    return {name: values[members] for name, values in batch.items()}
