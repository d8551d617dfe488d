"""Keeps the daemon's socket and starts the daemon again at once when it ends, as systemd does with a socket unit."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

TESTS = Path(__file__).parents[1]
BACKLOG = 128
ENDS_S = 30.0


class Supervisor:
    """One socket, and one daemon behind it at a time."""

    def __init__(self, path: Path, config: Path, environment: Mapping[str, str], *, real: bool) -> None:
        self.path = path
        self._config = config
        self._environment = {**environment, "PYTHONPATH": str(TESTS)}
        self._workers = "real" if real else "quick"
        self._over = threading.Event()
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.bind(str(path))
        self._sock.listen(BACKLOG)
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def pid(self) -> int | None:
        """The daemon's process id, once there is one that has not ended."""
        process = self.process
        return process.pid if process is not None and process.poll() is None else None

    def kill(self) -> int | None:
        """SIGKILL for the daemon there is; its process id."""
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self) -> None:
        """End the daemon in order, start no other, and let the socket go."""
        self._over.set()
        children: list[psutil.Process] = []
        # Another may be started while this is decided; each is told.
        end = time.monotonic() + ENDS_S
        while self._thread.is_alive():
            process = self.process
            if process is not None and process.poll() is None:
                with contextlib.suppress(psutil.Error):
                    children += psutil.Process(process.pid).children(recursive=True)
                process.send_signal(signal.SIGTERM if time.monotonic() < end else signal.SIGKILL)
            self._thread.join(1.0)
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()
        self._sock.close()

    def _keep(self) -> None:
        with (self._config.parent / "daemon.out").open("ab") as output:
            while not self._over.is_set():
                fd = self._sock.fileno()
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "kills.launched", str(fd), self._workers, str(self.path), str(self._config)],
                    env=self._environment,
                    pass_fds=[fd],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
                self.starts += 1
                began = time.monotonic()
                self.process.wait()
                # One that cannot start must not fill the process table.
                if time.monotonic() - began < 0.05:
                    time.sleep(0.05)
