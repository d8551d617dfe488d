"""Random numbers that follow from a seed and a place in the training, and from nothing that was drawn before."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor

_MASK = 2**64 - 1
_LAYERS_ARE_MADE: Final = threading.Lock()


def generator_at(*place: int) -> torch.Generator:
    """A generator on the CPU whose numbers follow from some integers alone, e.g. (seed, step).

    Neighbouring places give unrelated streams: each integer goes through the finaliser of SplitMix64 (Steele, Lea &
    Flood, OOPSLA 2014, doi 10.1145/2660193.2660195).
    """
    state = 0
    for number in place:
        state = _mixed(state ^ (number & _MASK))
    return torch.Generator().manual_seed(state % 2**63)


@contextmanager
def initialised_from(seed: int) -> Iterator[None]:
    """Layers that are made within begin with numbers that follow from a seed alone.

    They are drawn from torch's own stream on the CPU, which then goes on as if nothing had been drawn. It is one for
    all threads of a process: two that make layers at once would draw each other's numbers, so they wait in turn.
    """
    with _LAYERS_ARE_MADE, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


class Order:
    """Random orders by a place in the training; the last one is kept, as all steps of a pass ask for the same."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[int, ...], Tensor] | None = None

    def at(self, count: int, *place: int) -> Tensor:
        """That of so many at a place, (count,) int64 on the CPU, as `generator_at` gives it; not to be changed."""
        key = (count, *place)
        if self._kept is None or self._kept[0] != key:
            self._kept = key, torch.randperm(count, generator=generator_at(*place))
        return self._kept[1]


def _mixed(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
