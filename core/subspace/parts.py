"""Long work in parts: it yields between them, so that whoever is waiting for the device can be let in."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Parts = Generator[None, None, T]
"""Yields nothing, as often as it can, and returns its result."""


def whole(parts: Parts[T]) -> T:
    """The result of work that nobody waits beside."""
    while True:
        try:
            next(parts)
        except StopIteration as end:
            result: T = end.value
            return result
