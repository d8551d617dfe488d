"""A device that is not there: counts the bytes on it, refuses what does not fit, and spoils what is parked."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from cryobridge.core.training import Parking


class DeviceBudget:
    """A `Mover` on a budget. The content of a tensor that is on the host reads NaN, as nobody may compute with it.

    On it lies what was taken, and everything that a watched parking holds.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._taken: dict[int, int] = {}
        self._parked: dict[int, Tensor] = {}
        self._places: dict[int, int] = {}
        self._watched: Parking | None = None

    def watch(self, parking: Parking) -> None:
        """Count what a parking holds as lying here."""
        self._watched = parking

    @property
    def used_bytes(self) -> int:
        held = {id(tensor): size(tensor) for tensor in (self._watched.tensors() if self._watched else ())}
        return sum({**held, **self._taken}.values())

    @property
    def parked_bytes(self) -> int:
        return sum(size(tensor) for tensor in self._parked.values())

    def take(self, tensors: Iterable[Tensor]) -> None:
        """Put tensors here; raises where they do not fit."""
        for tensor in tensors:
            self._taken[id(tensor)] = size(tensor)
        if self.used_bytes > self.budget_bytes:
            raise torch.OutOfMemoryError(f"{self.used_bytes} bytes where there is room for {self.budget_bytes}")

    def drop(self, tensor: Tensor) -> None:
        """Let go what was taken."""
        del self._taken[id(tensor)]

    def to_host(self, tensor: Tensor) -> bool:
        if id(tensor) not in self._taken and self._watched is None:
            return False
        self._taken.pop(id(tensor), None)
        place = tensor.untyped_storage().data_ptr()
        if place in self._places.values():
            return False  # a view of what is parked already; its content went with that
        self._places[id(tensor)] = place
        self._parked[id(tensor)] = tensor.data.clone()
        if tensor.is_floating_point():
            tensor.data.fill_(torch.nan)
        return True

    def to_device(self, tensor: Tensor) -> None:
        if self.used_bytes + size(tensor) > self.budget_bytes:
            raise torch.OutOfMemoryError(f"{size(tensor)} bytes do not fit")
        if self._watched is None:
            self._taken[id(tensor)] = size(tensor)
        del self._places[id(tensor)]
        tensor.data.copy_(self._parked.pop(id(tensor)))


def size(tensor: Tensor) -> int:
    """Bytes of a tensor."""
    return tensor.numel() * tensor.element_size()
