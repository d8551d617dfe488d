"""How much device time each user has had of late: what fair turns are reckoned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping

HALF_LIFE_S = 3600.0
"""After so long half of what was used is forgotten."""
_FORGOTTEN_S = 0.1


class Shares:
    """Seconds of device time by user, which fade.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._used: dict[int, float] = {}
        self._at = clock()

    def charge(self, uid: int, seconds: float) -> None:
        """Add what a user has just used."""
        self._fade()
        self._used[uid] = self._used.get(uid, 0.0) + seconds

    def used_s(self) -> Mapping[int, float]:
        """What each user has used, of late the most."""
        self._fade()
        return dict(self._used)

    def _fade(self) -> None:
        now = self._clock()
        kept = 0.5 ** ((now - self._at) / HALF_LIFE_S)
        self._at = now
        faded = ((uid, used * kept) for uid, used in self._used.items())
        self._used = {uid: used for uid, used in faded if used > _FORGOTTEN_S}
