"""Trouble that lasts, said when it begins, now and then while it lasts, and when it is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

AGAIN_AFTER_S = 3600.0


class SaidOnce:
    """One trouble of one program that looks again and again.

    Parameters
    ----------
    over
        What is said when it is over.
    """

    def __init__(self, over: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._over = over
        self._clock = clock
        self._last: str | None = None
        self._said_at = 0.0

    def warn(self, text: str) -> None:
        """Say what is wrong, unless that was said within the hour."""
        now = self._clock()
        if text != self._last or now - self._said_at >= AGAIN_AFTER_S:
            log.warning("%s", text)
            self._last, self._said_at = text, now

    def fine(self) -> None:
        """Nothing is wrong now."""
        if self._last is not None:
            log.info("%s", self._over)
        self._last = None
