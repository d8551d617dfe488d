"""A socket that systemd holds outlives its daemon: calls made while there is none wait, and the next daemon answers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess, call_both, wait_for

pytestmark = pytest.mark.faults

AS_SYSTEMD = (
    "import os, sys\n"
    "os.dup2(int(sys.argv[1]), 3)\n"
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


class ServedSocket:
    """systemd's part: a socket that is listened on, and daemons that are started with it."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.bind(str(daemon.socket))
        self.sock.listen(64)

    def start(self) -> None:
        # No --socket: the passed one says where it is.
        command = [word for word in self.daemon.command() if word not in ("--socket", str(self.daemon.socket))]
        fd = self.sock.fileno()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CRYOBRIDGE_")}
        with (self.daemon.folder / "daemon.out").open("ab") as output:
            self.daemon.process = subprocess.Popen(
                [sys.executable, "-I", "-c", AS_SYSTEMD, str(fd), *command],
                pass_fds=[fd],
                env=environment | {"CRYOBRIDGE_FAKE": str(self.daemon.folder / "fake.json")},
                stdout=output,
                stderr=output,
            )


@pytest.fixture
def served(make_daemon) -> Iterator[ServedSocket]:
    daemon = make_daemon()
    # What the example configuration of the service sets.
    with (daemon.folder / "config.yaml").open("a") as config:
        config.write(f"state_dir: {daemon.folder / 'state'}\n")
    made = ServedSocket(daemon)
    yield made
    made.sock.close()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_calls_made_between_two_daemons_are_answered_by_the_second(served: ServedSocket, end: signal.Signals) -> None:
    daemon = served.daemon
    served.start()
    assert [hook.ended()[0] for hook in call_both(daemon)] == ["commit", "commit"]
    identity = Path(daemon.socket).stat().st_ino
    daemon.signal(end)
    daemon.process.wait(10)
    assert daemon.socket.stat().st_ino == identity
    hooks = call_both(daemon, 2)
    served.start()
    assert [hook.ended()[0] for hook in hooks] == ["commit", "commit"]
    assert Path(daemon.socket).stat().st_ino == identity


def test_it_is_ready_and_says_where_it_listens(served: ServedSocket) -> None:
    served.start()
    status = served.daemon.ask("status")
    assert status["socket"] == str(served.daemon.socket)
    wait_for(lambda: served.daemon.ask("status")["health"]["ready"])
    assert status["state_dir"] == str(served.daemon.folder / "state")
