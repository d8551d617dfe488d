"""How memory and descriptors of processes went over a run: levels, and one slope over all lives of a role.

A hundred connections for three seconds are no leak. What stays is: so the slope is that of the floor, the least that a
process had in each stretch of time.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .bounds import FLOOR_S, WARMING_S
from .history import Level


@dataclass(frozen=True)
class Course:
    """One quantity of one role over all its processes.

    `least` and `most` are of all looks after a process has warmed up (of all, where none has). `slope` is per minute,
    of the floor, fitted with a level of its own for each process; None where less than two stretches remain.
    `followed_s` is how long the processes were looked at then.
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
    warm = [[level for level in life if level.at_s - life[0].at_s >= WARMING_S] for life in lives.values()]
    floors = [floor for life in warm if len(floor := _floor(life, quantity)) > 1]
    everything = [quantity(level) for life in lives.values() for level in life]
    return Course(
        first=everything[0],
        last=everything[-1],
        least=min((quantity(level) for life in warm for level in life), default=min(everything)),
        most=max(everything),
        slope=_slope(floors),
        followed_s=sum(floor[-1][0] - floor[0][0] for floor in floors),
        processes=len(lives),
    )


def _floor(life: Sequence[Level], quantity: Callable[[Level], float]) -> list[tuple[float, float]]:
    """The least of each whole stretch of `FLOOR_S`, at the stretch's middle."""
    if not life:
        return []
    stretches: dict[int, list[float]] = defaultdict(list)
    for level in life:
        stretches[int((level.at_s - life[0].at_s) // FLOOR_S)].append(quantity(level))
    whole = int((life[-1].at_s - life[0].at_s + 1.0) // FLOOR_S)
    return [
        (life[0].at_s + (number + 0.5) * FLOOR_S, min(values))
        for number, values in sorted(stretches.items())
        if number < whole
    ]


def _slope(lives: Sequence[Sequence[tuple[float, float]]]) -> float | None:
    """Least squares with one slope for all and a level for each life, of (seconds, value); per minute."""
    above = below = 0.0
    for life in lives:
        mean_s = statistics.fmean(at_s for at_s, _ in life)
        mean = statistics.fmean(value for _, value in life)
        above += sum((at_s - mean_s) * (value - mean) for at_s, value in life)
        below += sum((at_s - mean_s) ** 2 for at_s, _ in life)
    return 60.0 * above / below if below > 0 else None


QUANTITIES: dict[str, Callable[[Level], float]] = {
    "memory (MB)": lambda level: level.rss_mb,
    "descriptors": lambda level: float(level.descriptors),
    "threads": lambda level: float(level.threads),
}
