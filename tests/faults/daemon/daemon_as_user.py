"""The real daemon with fake workers under another user's id: `daemon_as_user.py UID --socket S --config C`.

That user may have no right to this interpreter and its packages. So everything is imported before the change, and
workers are forked off and not started.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

from fake_worker import FakeWorker

from cryobridge.bridge.daemon.start import run
from cryobridge.schemas.config import load
from cryobridge.schemas.wire import Channel

MOST_FDS = 4096


class ForkedWorker:
    """A worker as the pool sees it (`bridge.pool.place.Process`)."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


def fork(device: str, sock: socket.socket, log: Path) -> ForkedWorker:
    fd = os.dup(sock.fileno())
    pid = os.fork()
    if pid:
        os.close(fd)
        return ForkedWorker(pid)
    # What the daemon holds is not the worker's: with its end of the pair open, the worker would never see it go.
    os.closerange(3, fd)
    os.closerange(fd + 1, MOST_FDS)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os._exit(FakeWorker(Channel(socket.socket(fileno=fd))).run(device))


def main() -> int:
    uid, socket_path, config = int(sys.argv[1]), Path(sys.argv[3]), Path(sys.argv[5])
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    return run(load(config, options={"socket": socket_path}), spawn=fork)


if __name__ == "__main__":
    sys.exit(main())
