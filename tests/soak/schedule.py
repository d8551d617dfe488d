"""What is done when: the same seed gives the same schedule, and a shorter run is the beginning of a longer one."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, takewhile

from .deeds.deed import Deed

CYCLE = 20
DEADLY = frozenset({0, 2, 4, 6, 8, 10})
"""The rounds of each cycle, of about a minute each, with deadly deeds."""


@dataclass(frozen=True)
class Appointment:
    """One deed at its time; `draw` seeds its own random numbers."""

    number: int
    at_s: float
    deed: str
    draw: int


def schedule(seed: int, seconds: float, deeds: Mapping[str, Deed], gap_s: float) -> list[Appointment]:
    """The appointments of the first `seconds` of a seed.

    Deeds are drawn like cards: every one comes in each round as often as its weight says, in an order of the round's
    own; deadly ones come in some rounds only. The last nine of a cycle of twenty are without, so that there are
    processes that live long enough, after all kinds of work have been done once, to see whether they grow.

    Parameters
    ----------
    gap_s
        Mean time between two; single ones are exponentially distributed, so that some fall together.
    """
    return list(takewhile(lambda one: one.at_s < seconds, _endless(seed, deeds, gap_s)))


def _endless(seed: int, deeds: Mapping[str, Deed], gap_s: float) -> Iterator[Appointment]:
    dice = random.Random(seed)
    at_s = 0.0
    number = 0
    for round_number in count():
        calm = round_number % CYCLE not in DEADLY
        cards = [deed.name for deed in deeds.values() for _ in range(deed.weight) if not (calm and deed.deadly)]
        dice.shuffle(cards)
        for name in cards:
            at_s += min(dice.expovariate(1 / gap_s), 4 * gap_s)
            yield Appointment(number, round(at_s, 3), name, dice.randrange(2**32))
            number += 1
