"""What systemd hears of a real daemon: readiness, pings only while all is well, more time while calls are answered."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from support.daemon_process import DaemonProcess, call_both, wait_for

pytestmark = pytest.mark.faults

PING = "WATCHDOG=1"
LIMIT_S = 0.9
"""What systemd is said to wait, so that the daemon pings each third of it."""


class NotifySocket:
    """systemd's end: everything that was told, message by message."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.setblocking(False)
        self.told: list[list[str]] = []

    def hear(self, seconds: float = 0.0) -> list[list[str]]:
        """What came in so many seconds."""
        time.sleep(seconds)
        new = []
        while True:
            try:
                new.append(self.sock.recv(4096).decode().split("\n"))
            except BlockingIOError:
                break
        self.told += new
        return new

    def pings(self, seconds: float) -> int:
        """How many came in so many seconds, beside whatever waited before."""
        self.hear()
        return sum(PING in words for words in self.hear(seconds))

    def has(self, word: str) -> bool:
        """Whether anything told so far begins so."""
        self.hear()
        return any(one.startswith(word) for words in self.told for one in words)

    def status(self) -> str:
        """The last one told; empty before the first."""
        self.hear()
        return next((one for words in reversed(self.told) for one in words if one.startswith("STATUS=")), "")


@pytest.fixture
def systemd(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[NotifySocket]:
    path = tmp_path_factory.mktemp("n") / "notify"
    made = NotifySocket(path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", str(int(LIMIT_S * 1e6)))
    yield made
    made.sock.close()


Make = Callable[..., DaemonProcess]


def test_readiness_is_told_once_pings_follow_and_no_worker_could_speak_for_the_daemon(
    make_daemon: Make, systemd: NotifySocket
) -> None:
    daemon = make_daemon().start()
    daemon.ready_worker()
    assert systemd.pings(1.5) >= 3
    assert [words for words in systemd.told if "READY=1" in words] == [["READY=1"]]
    assert systemd.status() == "STATUS=ready, RELION calls under way: 0, jobs waiting or running: 0"
    worker = psutil.Process(daemon.worker_pid()).environ()
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & set(worker)
    daemon.ask("drain")
    assert systemd.pings(1.0) >= 1
    assert systemd.status().startswith("STATUS=draining")
    assert not systemd.has("STOPPING=1")


def test_pings_stop_while_the_database_cannot_be_written_and_come_again(
    make_daemon: Make, systemd: NotifySocket
) -> None:
    daemon = make_daemon().start()
    daemon.ready_worker()
    process = psutil.Process(daemon.process.pid)
    soft, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (0, hard))
    wait_for(lambda: "database cannot be written" in systemd.status(), 10)
    assert systemd.pings(1.5) == 0
    assert str(daemon.folder) not in systemd.status()
    # It goes on answering all the same.
    assert daemon.ask("status")["health"]["degraded"]
    process.rlimit(psutil.RLIMIT_FSIZE, (soft, hard))
    wait_for(lambda: systemd.pings(0.5) > 0, 10)


def test_pings_stop_while_a_worker_is_silent_until_it_is_replaced(make_daemon: Make, systemd: NotifySocket) -> None:
    daemon = make_daemon(deadlines={"silence_s": 6.0}).start()
    stopped = daemon.ready_worker()
    assert systemd.pings(1.0) >= 1
    os.kill(stopped, signal.SIGSTOP)
    wait_for(lambda: "worker-0 is silent" in systemd.status(), 6)
    assert systemd.pings(1.5) == 0
    assert daemon.worker_pid() == stopped
    wait_for(lambda: systemd.pings(0.5) > 0, 20)
    assert daemon.ready_worker() != stopped


def test_a_daemon_whose_workers_cannot_start_is_not_killed_for_it_and_answers(
    make_daemon: Make, systemd: NotifySocket
) -> None:
    daemon = make_daemon()
    daemon.fake(exit_at_start=True)
    daemon.start()
    wait_for(lambda: daemon.ask("status")["workers"][0]["failures"] >= 3, 20)
    assert systemd.pings(3.0) >= 4
    assert "not all is well" in systemd.status()
    assert [hook.ended()[0] for hook in call_both(daemon)] == ["failed", "failed"]


def test_more_time_is_asked_for_while_calls_are_answered_before_the_end(
    make_daemon: Make, systemd: NotifySocket
) -> None:
    daemon = make_daemon().start()
    daemon.ready_worker()
    daemon.fake(correct_s=2.5)
    hooks = call_both(daemon)
    wait_for(lambda: any(one["halves"].get("1") == "correcting" for one in daemon.ask("ps")["processes"]))
    assert not systemd.has("EXTEND_TIMEOUT_USEC")
    daemon.signal(signal.SIGTERM)
    assert [hook.ended()[0] for hook in hooks] == ["commit", "commit"]
    assert daemon.process.wait(10) == 0
    systemd.hear()
    asked = [words for words in systemd.told if "EXTEND_TIMEOUT_USEC=30000000" in words]
    assert asked[0][0] == "STOPPING=1"
    assert len(asked) >= 3
    assert systemd.status().startswith("STATUS=stopping, RELION calls under way: ")
