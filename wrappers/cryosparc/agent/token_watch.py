"""A token that comes to its end is named days ahead, once a day, in the log of whoever depends on it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ..v5.login import WARN_DAYS

log = logging.getLogger(__name__)

SAY_EVERY = timedelta(days=1)


class TokenWatch:
    """Says when a token is to be renewed.

    Parameters
    ----------
    expires
        When the token that is stored now expires; None where there is none, or none is needed. It is asked each time,
        so that a new login is seen.
    command
        That renews it.
    now
        The time, with its zone.
    """

    def __init__(
        self,
        expires: Callable[[], datetime | None],
        command: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._expires = expires
        self._command = command
        self._now = now
        self._looked_at: datetime | None = None

    def look(self) -> None:
        """Look once a day, and warn where there are few days left."""
        now = self._now()
        if self._looked_at is not None and timedelta(0) <= now - self._looked_at < SAY_EVERY:
            return
        self._looked_at = now
        expires = self._expires()
        if expires is not None and expires - now < timedelta(days=WARN_DAYS):
            log.warning(
                "the token for CryoSPARC expires on %s; renew it, without stopping anything: %s",
                expires.astimezone(UTC).strftime("%Y-%m-%d at %H:%M UTC"),
                self._command,
            )
