"""Ranks of a training played by threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from cryobridge.core.training import Ranks


class Meeting:
    """Where threads that play ranks lay down what they have and take up the mean."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.brought: list[list[Tensor]] = [[] for _ in range(count)]
        self.barrier = threading.Barrier(count, timeout=60)


class ThreadRanks:
    """One of them."""

    def __init__(self, index: int, meeting: Meeting) -> None:
        self.index, self.count, self._meeting = index, meeting.count, meeting

    def mean_(self, tensors: list[Tensor]) -> None:
        self._meeting.brought[self.index] = tensors
        self._meeting.barrier.wait()
        means = [torch.stack(same).mean(dim=0) for same in zip(*self._meeting.brought, strict=True)]
        self._meeting.barrier.wait()
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean)


def on_ranks(count: int, work: Callable[[Ranks], Any]) -> list[Any]:
    """What `work` gives on each of so many ranks."""
    meeting = Meeting(count)
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, [ThreadRanks(index, meeting) for index in range(count)]))
