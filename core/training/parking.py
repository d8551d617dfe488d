"""Tensors of long work that wait on the host while something more urgent needs the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

Held = Callable[[], Iterable[Tensor]]
"""Gives every tensor that some work keeps on the device at present."""


class Mover(Protocol):
    """Moves the content of tensors; the tensors stay the same objects, so whoever holds them notices nothing."""

    def to_host(self, tensor: Tensor) -> bool:
        """Leave nothing of it on the device; false if it was not there."""

    def to_device(self, tensor: Tensor) -> None:
        """Put it back where it was; if there is no room, raise torch's out-of-memory error and change nothing."""


class DeviceMover:
    """To pinned host memory and back, for one device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def to_host(self, tensor: Tensor) -> bool:
        """Leave nothing of it on the device; false if it was not there."""
        if tensor.device.type == "cpu":
            return False
        host = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
        tensor.data = host.copy_(tensor.data)
        return True

    def to_device(self, tensor: Tensor) -> None:
        """Put it back on the device."""
        tensor.data = tensor.data.to(self._device)


class Parking:
    """What of one worker's work can be moved off its device, and is while it is parked.

    Work says what it holds for as long as it does (`holding`); whoever has something more urgent parks it first, and
    may itself be parked by something more urgent still.
    """

    def __init__(self, mover: Mover) -> None:
        self._mover = mover
        self._holders: list[Held] = []
        self._parked: list[list[Tensor]] = []

    @contextmanager
    def holding(self, held: Held) -> Iterator[None]:
        """Have the tensors that `held` gives parked when somebody asks for it within this block."""
        self._holders.append(held)
        try:
            yield
        finally:
            self._holders.remove(held)

    def tensors(self) -> Iterator[Tensor]:
        """Everything that is held and is not parked, each once."""
        known = {id(tensor) for parked in self._parked for tensor in parked}
        for held in self._holders:
            for tensor in held():
                if id(tensor) not in known:
                    known.add(id(tensor))
                    yield tensor

    def park(self) -> None:
        """Move everything that is held and is not parked yet to the host."""
        moved: list[Tensor] = []
        here = list(self.tensors())
        # Known before anything is moved: what has been moved comes back even if the rest cannot be.
        self._parked.append(moved)
        for tensor in here:
            if self._mover.to_host(tensor):
                moved.append(tensor)  # noqa: PERF401 - one by one, so that an error leaves what was moved in the list

    def unpark(self) -> None:
        """Move back what was parked last.

        Raises
        ------
        torch.OutOfMemoryError
            If the device has no room for it at present. What was moved back is on the host again; ask later.
        """
        back: list[Tensor] = []
        try:
            for tensor in self._parked[-1]:
                self._mover.to_device(tensor)
                back.append(tensor)
        except BaseException:
            for tensor in back:
                self._mover.to_host(tensor)
            raise
        self._parked.pop()

    def abandon(self) -> None:
        """Leave what was parked last on the host for good: the work that held it is given up."""
        self._parked.pop()
