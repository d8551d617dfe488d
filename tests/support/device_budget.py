"""A device that is not there: counts the bytes on it, refuses what does not fit, and spoils what is parked."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class DeviceBudget:
    """A `Mover` on a budget. The content of a tensor that is on the host reads NaN, as nobody may compute with it."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._here: dict[int, int] = {}
        self._parked: dict[int, Tensor] = {}

    @property
    def used_bytes(self) -> int:
        return sum(self._here.values())

    def take(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors as lying on the device."""
        for tensor in tensors:
            self._here[id(tensor)] = tensor.numel() * tensor.element_size()
        assert self.used_bytes <= self.budget_bytes

    def to_host(self, tensor: Tensor) -> bool:
        if id(tensor) not in self._here:
            return False
        del self._here[id(tensor)]
        self._parked[id(tensor)] = tensor.data.clone()
        if tensor.is_floating_point():
            tensor.data.fill_(torch.nan)
        return True

    def to_device(self, tensor: Tensor) -> None:
        size = tensor.numel() * tensor.element_size()
        if self.used_bytes + size > self.budget_bytes:
            raise torch.OutOfMemoryError(f"{size} bytes do not fit")
        self._here[id(tensor)] = size
        tensor.data = self._parked.pop(id(tensor))
