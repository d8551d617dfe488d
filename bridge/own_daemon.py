"""A daemon for one program: on a socket of its own in a private folder, ended when the program has ended.

It is set up as the user's own would be, but keeps to the program's calls: no folder is watched, no inbox is emptied.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from cryobridge.schemas.config import load
from cryobridge.schemas.errors import CryobridgeError, DaemonUnavailable
from cryobridge.schemas.plain_file import read_plain
from cryobridge.schemas.requests import AskStatus, StopDaemon
from cryobridge.wrappers.formats.whole_file import whole_file, write_all
from cryobridge.wrappers.relion.hook.daemon import daemon_environment

from .client import DaemonClient
from .log_file import LOG_NAME
from .parent import end_with_parent

START_LIMIT_S = 30.0
STOP_LIMIT_S = 90.0
_POLL_S = 0.05
_LONGEST_FOLDER = 80
"""Of characters, so that a socket in it has a path that the kernel takes."""
_FOR_A_RESIDENT = ("socket", "socket_mode", "state_dir", "inbox", "watch_roots", "metrics_file", "jobs_only")
"""Settings of a daemon that stays."""
_MOST_LOG_BYTES = 64 << 20


@dataclass(frozen=True)
class SessionCounts:
    """What the daemon counted of one refinement, by iterations; `last` is what the last one's log line said."""

    session: str
    corrected: int
    standard: int
    failed: int
    last: str


class OwnDaemon:
    """A daemon that belongs to this process.

    Parameters
    ----------
    environment
        Of the user, with the settings of his daemon.

    Attributes
    ----------
    socket
        Where it listens.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._folder = _private_folder()
        self.socket = self._folder / "socket"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises
        ------
        DaemonUnavailable
            If it does not; the message says why.
        """
        try:
            self._write_config()
            self._process = self._launch()
        except (CryobridgeError, OSError) as error:
            raise DaemonUnavailable(f"{error}") from error
        end = time.monotonic() + START_LIMIT_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise DaemonUnavailable(
                    f"it ended at its start with status {self._process.returncode}: {self._last_words()}"
                )
            with contextlib.suppress(DaemonUnavailable):
                self._connect().close()
                return
            time.sleep(_POLL_S)
        raise DaemonUnavailable(f"it did not answer within {START_LIMIT_S:.0f} s: {self._last_words()}")

    @property
    def end(self) -> str | None:
        """How it ended, if it did; a call may have started another in its place meanwhile."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return None
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"

    def sessions(self) -> list[SessionCounts]:
        """What whoever listens now has counted; nothing where nobody does."""
        try:
            with self._connect() as client:
                told = client.request(AskStatus()).get("sessions") or []
            return [
                SessionCounts(
                    str(one["session"]),
                    int(one["corrected"]),
                    int(one["standard"]),
                    int(one["failed"]),
                    str(one["last"]),
                )
                for one in told
            ]
        except (CryobridgeError, LookupError, TypeError, ValueError):
            return []

    def stop(self) -> None:
        """End it, and whichever a call has started in its place, in order; after some time not in order."""
        deadline = time.monotonic() + STOP_LIMIT_S
        asked: set[psutil.Process] = set()
        while time.monotonic() < deadline:
            try:
                with self._connect() as client:
                    if client.welcome.pid is not None:
                        asked.add(psutil.Process(client.welcome.pid))
                    client.request(StopDaemon())
            except (CryobridgeError, psutil.Error):
                break
            time.sleep(_POLL_S)
        # It closes its socket first, and then ends its workers.
        if self._process is not None and self._process.poll() is None:
            asked.add(psutil.Process(self._process.pid))
        _, late = psutil.wait_procs(list(asked), max(1.0, deadline - time.monotonic()))
        for process in late:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self._process is not None:
            self._process.wait()

    def keep_log(self, path: Path) -> bool:
        """Put its log under a name that outlives it; whether there was something to keep.

        Raises
        ------
        OSError
            If it cannot be written there.
        """
        text = b"".join(self._logged())
        if text:
            with whole_file(path) as descriptor:
                write_all(descriptor, text, 0)
        return bool(text)

    def remove(self) -> None:
        """Remove its folder, with its log."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _connect(self) -> DaemonClient:
        return DaemonClient.connect({"CRYOBRIDGE_SOCKET": str(self.socket)}, timeout_s=2.0)

    def _write_config(self) -> None:
        with whole_file(self._folder / "config.yaml") as descriptor:
            write_all(descriptor, yaml.safe_dump(own_settings(self._environment)).encode(), 0)

    def _launch(self) -> subprocess.Popen[bytes]:
        resident = {f"CRYOBRIDGE_{key.upper()}" for key in _FOR_A_RESIDENT}
        environment = {
            key: value for key, value in daemon_environment(self._environment).items() if key not in resident
        }
        command = [sys.executable, "-I", "-m", "cryobridge.bridge.daemon"]
        command += ["--socket", str(self.socket), "--config", str(self._folder / "config.yaml")]
        # The same file as for a daemon that a call starts in its place.
        log = os.open(f"{self.socket}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o600)
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment,
                start_new_session=True,
                preexec_fn=_as_a_daemon,
            )
        finally:
            os.close(log)

    def _logged(self) -> Iterator[bytes]:
        state = self._folder / f"{self.socket.name}.state"
        for path in (state / f"{LOG_NAME}.1", state / LOG_NAME, Path(f"{self.socket}.log")):
            with contextlib.suppress(OSError):
                yield read_plain(path, _MOST_LOG_BYTES)

    def _last_words(self) -> str:
        lines = b"".join(self._logged()).decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")


def own_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings of the user's daemon, as far as they are not for one that stays.

    Raises
    ------
    InputInvalid
        If they cannot be used.
    """
    values = load(None, environment).config.model_dump(mode="json")
    return {key: value for key, value in values.items() if key not in _FOR_A_RESIDENT}


def _as_a_daemon() -> None:
    """In the new process: end with this one, and take signals, which this one may hold back."""
    end_with_parent()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _private_folder() -> Path:
    """A new folder that nobody else may look into, with a short name."""
    folder = Path(tempfile.mkdtemp(prefix="cryobridge-"))
    if len(os.fsencode(folder)) <= _LONGEST_FOLDER:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="cryobridge-", dir="/tmp"))
