"""How memory and descriptors of processes went over a run: levels, and one slope over all lives of a role.

A hundred connections for three seconds are no leak, and memory that was given back for a while and taken again is none.
What stays is: so the slope is that from the first third of a process's life to the last, of the least that it had or of
the median, whichever grows less: a leak makes both grow.
"""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .bounds import THIRD_S, WARMING_ROUNDS, WARMING_S
from .history import Level, Steady


@dataclass(frozen=True)
class Course:
    """One quantity of one role over all its processes.

    `least` and `most` are of all looks after a process has warmed up (of all, where none has). `slope` is per minute,
    fitted with a level of its own for each process; None where none has lived for long.
    `followed_s` is how long those were looked at.
    """

    first: float
    last: float
    least: float
    most: float
    slope: float | None
    followed_s: float
    processes: int


def course(levels: Iterable[Level], role: str, quantity: Callable[[Level], float]) -> Course | None:
    """The course of a quantity of one role; None where it was never seen."""
    lives: dict[int, list[Level]] = defaultdict(list)
    for level in levels:
        if level.role == role:
            lives[level.pid].append(level)
    if not lives:
        return None
    warm = [[level for level in life if level.at_s - life[0].at_s >= WARMING_S[role]] for life in lives.values()]
    long = [life for life in warm if _is_long(life)]
    slopes = [_slope([_thirds(life, quantity, typical) for life in long]) for typical in (min, statistics.median)]
    everything = [quantity(level) for life in lives.values() for level in life]
    return Course(
        first=everything[0],
        last=everything[-1],
        least=min((quantity(level) for life in warm for level in life), default=min(everything)),
        most=max(everything),
        slope=min((slope for slope in slopes if slope is not None), default=None),
        followed_s=sum(life[-1].at_s - life[0].at_s for life in long),
        processes=len(lives),
    )


def _is_long(life: Sequence[Level]) -> bool:
    return bool(life) and life[-1].at_s - life[0].at_s >= 3 * THIRD_S


def _thirds(
    life: Sequence[Level], quantity: Callable[[Level], float], typical: Callable[[Sequence[float]], float]
) -> list[tuple[float, float]]:
    """What is typical of the first and of the last third, each at its middle."""
    third_s = (life[-1].at_s - life[0].at_s) / 3
    first = [quantity(level) for level in life if level.at_s <= life[0].at_s + third_s]
    last = [quantity(level) for level in life if level.at_s >= life[-1].at_s - third_s]
    return [(life[0].at_s + third_s / 2, typical(first)), (life[-1].at_s - third_s / 2, typical(last))]


def _slope(lives: Sequence[Sequence[tuple[float, float]]]) -> float | None:
    """Least squares with one slope for all and a level for each life, of (seconds, value); per minute."""
    above = below = 0.0
    for life in lives:
        mean_s = statistics.fmean(at_s for at_s, _ in life)
        mean = statistics.fmean(value for _, value in life)
        above += sum((at_s - mean_s) * (value - mean) for at_s, value in life)
        below += sum((at_s - mean_s) ** 2 for at_s, _ in life)
    return 60.0 * above / below if below > 0 else None


# ---- in the calm


@dataclass(frozen=True)
class Kept:
    """What one process keeps of a round, from its first to its last judged one."""

    rounds: int
    first: float
    last: float
    slope: float


def kept(seen: Iterable[Steady], role: str, quantity: Callable[[Level], float]) -> dict[int, Kept]:
    """What each process of a role keeps, by its id.

    The slope is Theil and Sen's: the median over all pairs of rounds. Rounds in which a process does things for the
    first time are left out (`WARMING_ROUNDS`).
    """
    lives: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for one in seen:
        if one.level.role == role and one.round >= WARMING_ROUNDS:
            lives[one.level.pid].append((one.round, quantity(one.level)))
    return {pid: _kept(life) for pid, life in lives.items() if len(life) > 1}


def _kept(life: list[tuple[int, float]]) -> Kept:
    slopes = [(b - a) / (j - i) for (i, a), (j, b) in itertools.combinations(life, 2)]
    return Kept(len(life), life[0][1], life[-1][1], statistics.median(slopes))


QUANTITIES: dict[str, Callable[[Level], float]] = {
    "memory (MB)": lambda level: level.rss_mb,
    "descriptors": lambda level: float(level.descriptors),
    "threads": lambda level: float(level.threads),
}
