"""Who finds room at the daemon's door, and who gives way: no user keeps another out, and nobody keeps a hook out.

A connection that does what it came for, a hook that waits for its map or a command, is never sent away for another.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Generic, Protocol, TypeVar

from cryobridge.schemas.bounds import HOOKS_SHARE

from ..room import share

HOOK = "relion-hook"
"""What a hook calls itself in its greeting."""


class Guest(Protocol):
    """A connection as it is seen here; see `server.Client`."""

    kind: str
    waits_for: int
    since: float

    @property
    def uid(self) -> int:
        """Its user, as the kernel knows it."""


G = TypeVar("G", bound=Guest)


class Places(Generic[G]):
    """The connections that a daemon has room for.

    How many each user may have says `bridge.room`.

    Parameters
    ----------
    guests
        Who is there now; looked at anew each time.
    most
        Connections in all.
    greeting_s, call_s
        A connection without a greeting, and a hook that waits for nothing, are the first to give way from this age on.
    """

    def __init__(self, guests: Collection[G], most: int, greeting_s: float, call_s: float) -> None:
        self._guests = guests
        self._greeting_s = greeting_s
        self._call_s = call_s
        self._most = most

    def share(self, uid: int) -> int:
        """How many connections a user may have as things are."""
        others = sum(guest.uid != uid for guest in self._guests)
        return share(self._most, others)

    def are_full_for(self, uid: int) -> bool:
        """Whether a user has as many as he may."""
        return len(self._of(uid)) >= self.share(uid)

    def only_for_hooks(self, uid: int) -> bool:
        """Whether a user's places that are left are kept for his hooks."""
        commands = sum(guest.kind not in ("", HOOK) for guest in self._of(uid))
        share = self.share(uid)
        return commands >= share - math.ceil(share * HOOKS_SHARE)

    def next_to_go(self, uid: int, now: float) -> G | None:
        """Who of a user's gives way to his next one: the one that has done nothing for longest, if any does nothing.

        Hooks are given longer than what has not even greeted, but neither has a right to stay: or a few that come anew
        again and again would keep all others out.
        """

        def order(guest: G) -> tuple[int, float]:
            is_hook = guest.kind == HOOK
            is_late = now - guest.since > (self._call_s if is_hook else self._greeting_s)
            return (is_hook if is_late else 2 + is_hook), guest.since

        idle = [guest for guest in self._of(uid) if not guest.kind or (guest.kind == HOOK and not guest.waits_for)]
        return min(idle, key=order, default=None)

    def _of(self, uid: int) -> list[G]:
        return [guest for guest in self._guests if guest.uid == uid]
