"""Who may see and do what, for every request.

A user is who the kernel says (SO_PEERCRED). Owners see and cancel what is theirs; root, the daemon's user and the
operators that the configuration names see everything and may cancel, drain, resume and let refinements go. What makes
the daemon open a path, or ends it, is for root and the daemon's user alone. All others see counts.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from cryobridge.schemas.errors import InputInvalid, JobRejected

KNOWN_FOR_S = 10.0
"""So long what the group database says of a user is taken for true; who leaves the group has his rights no longer."""
_MOST_KNOWN = 4096


class Accounts(Protocol):
    """The users and groups of a machine."""

    def group(self, name: str) -> int | None:
        """The number of a group; None where there is none of this name."""

    def user(self, name: str) -> int | None:
        """The number of a user; None where there is none of this name."""

    def groups_of(self, uid: int) -> frozenset[int]:
        """The groups that a user is in."""


class SystemAccounts:
    """As the group and user databases say (files, LDAP, whatever this machine asks)."""

    def group(self, name: str) -> int | None:
        """The number of a group; None where there is none of this name."""
        with contextlib.suppress(KeyError, OSError):
            return grp.getgrnam(name).gr_gid
        return None

    def user(self, name: str) -> int | None:
        """The number of a user; None where there is none of this name."""
        with contextlib.suppress(KeyError, OSError):
            return pwd.getpwnam(name).pw_uid
        return None

    def groups_of(self, uid: int) -> frozenset[int]:
        """The groups that a user is in, the first one too."""
        with contextlib.suppress(KeyError, OSError):
            user = pwd.getpwuid(uid)
            return frozenset(os.getgrouplist(user.pw_name, user.pw_gid))
        return frozenset()


class Rights:
    """What each user may.

    Parameters
    ----------
    operators
        Names of groups or users; a name that is both is the group's.
    own_uid
        The user that the daemon runs as.
    clock
        Monotonic seconds.

    Raises
    ------
    InputInvalid
        If there is neither a group nor a user of such a name.
    """

    def __init__(
        self,
        operators: Sequence[str] = (),
        own_uid: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        accounts: Accounts | None = None,
    ) -> None:
        self._operators = tuple(operators)
        self._owners = frozenset((0, os.getuid() if own_uid is None else own_uid))
        self._clock = clock
        self._accounts: Accounts = accounts or SystemAccounts()
        self._known: dict[int, tuple[float, bool]] = {}
        for name in self._operators:
            if self._accounts.group(name) is None and self._accounts.user(name) is None:
                raise InputInvalid(
                    f"operators: there is no group or user '{name}' on this machine; make it, or correct the setting"
                )

    def owns(self, uid: int) -> bool:
        """Whether the daemon is this user's own, or he is root."""
        return uid in self._owners

    def operates(self, uid: int) -> bool:
        """Whether a user sees everything and may cancel, drain, resume and let refinements go."""
        if uid in self._owners:
            return True
        if not self._operators:
            return False
        now = self._clock()
        since, known = self._known.get(uid, (now - KNOWN_FOR_S, False))
        if now - since >= KNOWN_FOR_S:
            known = self._is_operator(uid)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[uid] = (now, known)
        return known

    def sees(self, uid: int, owner: int) -> bool:
        """Whether a user sees, and may cancel or let go, what belongs to `owner`."""
        return uid == owner or self.operates(uid)

    def check_owns(self, uid: int) -> None:
        """Refuse what only root and the daemon's user may.

        Raises
        ------
        JobRejected
            To everybody else.
        """
        if not self.owns(uid):
            raise JobRejected("only the daemon's user and root may do that")

    def check_operates(self, uid: int) -> None:
        """Refuse what only operators may.

        Raises
        ------
        JobRejected
            To everybody else.
        """
        if not self.operates(uid):
            raise JobRejected("only root, the daemon's user and its operators may do that")

    def _is_operator(self, uid: int) -> bool:
        groups: frozenset[int] | None = None
        for name in self._operators:
            gid = self._accounts.group(name)
            if gid is None:
                if self._accounts.user(name) == uid:
                    return True
                continue
            groups = self._accounts.groups_of(uid) if groups is None else groups
            if gid in groups:
                return True
        return False
