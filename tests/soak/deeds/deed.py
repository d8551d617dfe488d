"""One kind of disturbance."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ..stage import Stage


class NotHereError(Exception):
    """This machine or user cannot do it; the text says why."""


@dataclass(frozen=True)
class Deed:
    """A kind of disturbance.

    `act` returns what came of it in a few words. A deadly one ends or stops processes of the service; those are left
    out of most rounds, so that memory and descriptors can be followed over processes that live long.
    """

    name: str
    act: Callable[[Stage, random.Random], str]
    weight: int = 1
    deadly: bool = False
