"""Small work that may have to wait for a disk or a driver, done now and then beside the loop, never in it."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Aside:
    """Does `work` in a thread of its own, at most once at a time; a run that hangs keeps the next ones away.

    Parameters
    ----------
    work
        Must not raise.
    every_s
        From one beginning to the next.
    """

    def __init__(self, work: Callable[[], None], every_s: float) -> None:
        self._work = work
        self._every_s = every_s
        self._due = float("-inf")
        self._thread: threading.Thread | None = None

    def tick(self, now: float) -> None:
        """Begin, if it is time and the last run is over; `now` is in monotonic seconds."""
        if self.is_due(now):
            self._due = now + self._every_s
            # A daemon thread: what hangs must not keep the process.
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()

    def is_due(self, now: float) -> bool:
        """Whether `tick` would begin a run."""
        return now >= self._due and not (self._thread is not None and self._thread.is_alive())

    def wait(self, limit_s: float) -> None:
        """Let a run that is under way finish, but wait no longer than this."""
        if self._thread is not None:
            self._thread.join(limit_s)
