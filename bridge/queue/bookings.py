"""Changes that the database could not take: made in their order, as soon as it can be written again.

What happened while the disk was full is not forgotten: an end that is never booked would be waited for without end.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from .store import StoreUnavailable, WrongTransition

log = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_S = 1.0


class Bookings:
    """Changes of one ledger, each made once and none before those that came earlier.

    Parameters
    ----------
    clock
        Monotonic seconds.
    limit
        How many changes may wait; the oldest are given up for newer ones. None where their number is bounded anyway.

    Attributes
    ----------
    problem
        Why the changes that wait could not be made, or None when none waits.
    """

    def __init__(self, clock: Callable[[], float], limit: int | None = None) -> None:
        self._clock = clock
        self._due: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque(maxlen=limit)
        self._again_at = 0.0
        self.problem: str | None = None

    def book(self, change: Callable[[], T], then: Callable[[T], None] = lambda _: None) -> None:
        """Make a change, now if possible, and have `then` called with what it returned once it is made.

        A change that the table of states forbids is dropped with a line in the log.
        """
        self._due.append((change, then))
        if self.problem is None:
            self._catch_up()

    def tick(self, now: float) -> None:
        """Try again, if anything waits."""
        if self._due and now >= self._again_at:
            self._catch_up()

    def _catch_up(self) -> None:
        behind = self.problem is not None
        while self._due:
            change, then = self._due[0]
            try:
                made = change()
            except StoreUnavailable as error:
                self._again_at = self._clock() + RETRY_S
                if not behind:
                    log.error("not booked yet, tried again until it is", extra={"error": str(error)})
                self.problem = str(error)
                return
            except WrongTransition as error:
                self._due.popleft()
                log.error("not booked", extra={"error": str(error)})
            else:
                self._due.popleft()
                then(made)
        self.problem = None
        if behind:
            log.info("all is booked that could not be before")
