"""Random numbers that follow from a seed and a place in the training, and from nothing that was drawn before."""

from __future__ import annotations

import torch

_MASK = 2**64 - 1


def generator_at(*place: int) -> torch.Generator:
    """A generator on the CPU whose numbers follow from some integers alone, e.g. (seed, step).

    Neighbouring places give unrelated streams: each integer goes through the finaliser of SplitMix64 (Steele, Lea &
    Flood, OOPSLA 2014, doi 10.1145/2660193.2660195).
    """
    state = 0
    for number in place:
        state = _mixed(state ^ (number & _MASK))
    return torch.Generator().manual_seed(state % 2**63)


def _mixed(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
