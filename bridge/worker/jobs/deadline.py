"""How much time a job has left."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from cryobridge.schemas.errors import DeadlineExceeded


class Deadline:
    """The longest time a job may take, from now on.

    Parameters
    ----------
    seconds
        None: as long as it likes.
    clock
        Monotonic seconds.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._started = clock()

    @property
    def left_s(self) -> float:
        """Seconds that are left; infinite where there is no deadline, negative when it is over."""
        if self._seconds is None:
            return math.inf
        return self._seconds - (self._clock() - self._started)

    def check(self) -> None:
        """Return if there is time left.

        Raises
        ------
        DeadlineExceeded
            If there is none.
        """
        if self._seconds is not None and self.left_s < 0:
            raise DeadlineExceeded(f"took longer than deadline_s = {self._seconds:g} s")
