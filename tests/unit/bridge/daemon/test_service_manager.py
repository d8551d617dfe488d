"""systemd is told what it asked for, and nobody else is."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryobridge.bridge.daemon.service_manager import PULSE_S, ServiceManager


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because a socket's path may have 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="cb-"))
    yield path
    shutil.rmtree(path)


def receiver(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(address)
    sock.settimeout(5)
    return sock


def test_each_thing_is_told_in_one_message(folder: Path) -> None:
    with receiver(str(folder / "notify")) as systemd:
        manager = ServiceManager({"NOTIFY_SOCKET": str(folder / "notify")})
        manager.ready()
        manager.pulse(None, "ready", stopping=False)
        manager.pulse("a worker is silent", "ready", stopping=False)
        manager.stopping("stopping")
        manager.pulse(None, "stopping", stopping=True)
        assert [systemd.recv(1000).decode() for _ in range(5)] == [
            "READY=1",
            "STATUS=ready\nWATCHDOG=1",
            "STATUS=ready; a worker is silent",
            "STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=30000000",
            "STATUS=stopping\nWATCHDOG=1\nEXTEND_TIMEOUT_USEC=30000000",
        ]


def test_an_abstract_address_is_reached() -> None:
    name = f"cryobridge-test-{os.getpid()}"
    with receiver(f"\0{name}") as systemd:
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert systemd.recv(100) == b"READY=1"


def test_where_nobody_listens_nothing_happens(folder: Path) -> None:
    for given in ({}, {"NOTIFY_SOCKET": str(folder / "gone")}, {"NOTIFY_SOCKET": ""}):
        ServiceManager(dict(given)).ready()


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, PULSE_S),
        ({"WATCHDOG_USEC": "60000000"}, PULSE_S),
        ({"WATCHDOG_USEC": "15000000"}, 5.0),
        ({"WATCHDOG_USEC": "15000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "15000000", "WATCHDOG_PID": "1"}, PULSE_S),
        ({"WATCHDOG_USEC": "soon"}, PULSE_S),
        ({"WATCHDOG_USEC": "0"}, PULSE_S),
    ],
)
def test_it_pings_three_times_in_the_time_that_systemd_waits(given: dict[str, str], seconds: float) -> None:
    assert ServiceManager(dict(given)).pulse_s == seconds


def test_nothing_of_it_is_left_for_the_workers() -> None:
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    ServiceManager(environment)
    assert environment == {"HOME": "/"}
