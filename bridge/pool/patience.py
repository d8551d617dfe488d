"""Time that a peer has for something, measured so that it is not charged for ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_STEPS = 16


class Patience:
    """Calls `over` when its time has passed and it was not stopped.

    The time passes in steps on the loop. A step that comes late, because the loop was busy or the process stood still,
    counts as one: what the peer has sent or taken meanwhile is seen before the next one.

    Parameters
    ----------
    limit_s
        No limit if None.
    over
        Called once, from the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_s: float | None, over: Callable[[], None]) -> None:
        self._loop = loop
        self._limit_s = limit_s
        self._over = over
        self._steps_left = 0
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Let the time begin, unless it runs."""
        if self._next is None and self._limit_s is not None:
            self._steps_left = _STEPS
            self._wait(self._limit_s)

    def stop(self) -> None:
        """Let it begin anew at the next start."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _wait(self, limit_s: float) -> None:
        self._next = self._loop.call_later(limit_s / _STEPS, self._step, limit_s)

    def _step(self, limit_s: float) -> None:
        self._next = None
        self._steps_left -= 1
        if self._steps_left:
            self._wait(limit_s)
        else:
            self._over()
