"""How long the worker's main thread has neither ended a step nor computed: what a read that hangs looks like.

A thread that only beats proves nothing about the one that works. The main thread therefore stamps every step that it
begins and ends, and the beat looks at the stamp and at the processor time of the whole process. A long but honest
step, in torch or in NumPy, uses the processor (and one on a GPU spins while it waits for it); a read of a file system
that does not answer, or a lock that nobody gives back, uses none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

IDLE_SHARE = 0.01
"""A process that used less of one processor than this since the last look has not computed."""
LONGEST_COUNTED_S = 5.0
"""No more than this is counted from one look to the next: a machine that was paused is not a worker that hangs."""


class _Stamp(NamedTuple):
    number: int
    task: str | None


class Stillness:
    """The stamp of the main thread, and what another thread makes of it.

    Parameters
    ----------
    clock
        Monotonic seconds.
    processor
        Seconds of processor time that this process has used, all threads together.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, processor: Callable[[], float] = time.process_time
    ) -> None:
        self._clock = clock
        self._processor = processor
        self._now = _Stamp(0, None)
        self._seen = self._now
        self._looked_at, self._used = clock(), processor()
        self._still_s = 0.0

    def step(self, task: str) -> None:
        """Note that a step of a task begins (main thread); empty for work that is about no task."""
        self._now = _Stamp(self._now.number + 1, task)

    def rest(self) -> None:
        """Note that there is nothing to do at present (main thread)."""
        self._now = _Stamp(self._now.number + 1, None)

    def look(self) -> tuple[float, str]:
        """For how many seconds the present step has stood still, and whose step it is (one other thread)."""
        now, looked_at, used = self._now, self._clock(), self._processor()
        passed = looked_at - self._looked_at
        moved = now != self._seen or now.task is None or used - self._used >= IDLE_SHARE * passed
        self._still_s = 0.0 if moved else self._still_s + min(passed, LONGEST_COUNTED_S)
        self._seen, self._looked_at, self._used = now, looked_at, used
        return self._still_s, now.task or ""
