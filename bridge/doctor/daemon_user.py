"""Who the daemon is to the file system: the user it runs as, and who may read what it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryobridge.schemas.errors import CryobridgeError

from ..client import DaemonClient


@dataclass(frozen=True)
class DaemonUser:
    """A daemon's user.

    Attributes
    ----------
    uid
        Effective.
    umask
        Rights that its new files never have.
    """

    uid: int
    umask: int


def daemon_user(environment: Mapping[str, str]) -> DaemonUser | None:
    """The user of the daemon that answers; None where that cannot be known."""
    try:
        with DaemonClient.connect(environment) as client:
            # Not the socket's: where systemd listens, that is systemd's own.
            pid = client.welcome.pid
    except CryobridgeError:
        return None
    return None if pid is None else user_of(pid)


def user_of(pid: int) -> DaemonUser | None:
    """The user of a process of this machine; None where the kernel does not say."""
    try:
        with open(Path("/proc") / str(pid) / "status") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
        return DaemonUser(int(lines["Uid"].split()[1]), int(lines["Umask"], 8))
    except (OSError, KeyError, ValueError):
        return None


def hides_from(daemon: DaemonUser, folder: Path) -> bool:
    """Whether the owner of a folder could not read what the daemon makes in it."""
    try:
        owner = folder.stat().st_uid
    except OSError:
        return False
    if owner in (0, daemon.uid):
        return False
    by_group_or_all = 0o044
    return daemon.umask & by_group_or_all == by_group_or_all
