"""How memory and descriptors of processes went over a run: levels, and one slope over all lives of a role."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .bounds import WARMING_S
from .history import Level


@dataclass(frozen=True)
class Course:
    """One quantity of one role over all its processes.

    `slope` is per minute, fitted with a level of its own for each process, after each has warmed up; None where less
    than two looks remain. `followed_s` is how long they were looked at then.
    """

    first: float
    last: float
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
    warm = [[level for level in life if level.at_s - life[0].at_s >= WARMING_S] for life in lives.values()]
    warm = [life for life in warm if len(life) > 1]
    everything = [quantity(level) for life in lives.values() for level in life]
    return Course(
        first=everything[0],
        last=everything[-1],
        most=max(everything),
        slope=_slope(warm, quantity),
        followed_s=sum(life[-1].at_s - life[0].at_s for life in warm),
        processes=len(lives),
    )


def _slope(lives: Sequence[Sequence[Level]], quantity: Callable[[Level], float]) -> float | None:
    """Least squares with one slope for all and a level for each life; per minute."""
    above = below = 0.0
    for life in lives:
        mean_s = statistics.fmean(level.at_s for level in life)
        mean = statistics.fmean(quantity(level) for level in life)
        above += sum((level.at_s - mean_s) * (quantity(level) - mean) for level in life)
        below += sum((level.at_s - mean_s) ** 2 for level in life)
    return 60.0 * above / below if below > 0 else None


QUANTITIES: dict[str, Callable[[Level], float]] = {
    "memory (MB)": lambda level: level.rss_mb,
    "descriptors": lambda level: float(level.descriptors),
    "threads": lambda level: float(level.threads),
}
