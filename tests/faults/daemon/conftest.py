"""A daemon with fake workers for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess


@pytest.fixture
def make_daemon() -> Iterator[Callable[..., DaemonProcess]]:
    """Make daemons (not started); all are ended with the test."""
    made: list[DaemonProcess] = []

    def make(**config) -> DaemonProcess:
        # Not tmp_path: a socket's path may have 107 bytes.
        made.append(DaemonProcess(Path(tempfile.mkdtemp(prefix="cb-")), **config))
        return made[-1]

    yield make
    for daemon in made:
        daemon.end()
        shutil.rmtree(daemon.folder, ignore_errors=True)


@pytest.fixture
def daemon(make_daemon: Callable[..., DaemonProcess]) -> DaemonProcess:
    """A running daemon."""
    return make_daemon().start()
