"""Several users on one machine, as root can play them: a daemon that runs as one, and clients that are others."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .daemon_process import HERE, DaemonProcess

SERVICE, OWNER, STRANGER = 40_001, 40_002, 40_003
"""Ids that no user has."""


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """Do what is inside with the rights of a user: the kernel looks at the effective id, also when it connects."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


class ServiceDaemon(DaemonProcess):
    """A daemon of `SERVICE`, or another user, that all may talk to, where its configuration does not say otherwise."""

    def __init__(self, folder: Path, uid: int = SERVICE, **config) -> None:
        self.uid = uid
        super().__init__(folder, **{"socket_mode": "0666", "state_dir": str(folder / "state"), **config})
        (folder / "state").mkdir(mode=0o700)
        folder.chmod(0o755)
        for path in (folder, folder / "state"):
            os.chown(path, uid, uid)
        for path in folder.glob("*.yaml"):
            path.chmod(0o644)

    def fake(self, **behaviour) -> None:
        super().fake(**behaviour)
        (self.folder / "fake.json").chmod(0o644)

    def command(self, *options: str) -> list[str]:
        config = str(self.folder / "config.yaml")
        program = str(HERE / "daemon_as_user.py")
        return [sys.executable, program, str(self.uid), "--socket", str(self.socket), "--config", config]

    def ask_as(self, uid: int, kind: str, **fields) -> dict:
        """The daemon's answer to a user."""
        with acting_as(uid):
            return dict(self.ask(kind, **fields))


def private_folder(folder: Path, uid: int) -> Path:
    """A new folder that only its user may enter, below one that all may."""
    folder.mkdir(mode=0o700)
    os.chown(folder, uid, uid)
    return folder
