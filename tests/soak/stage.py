"""Where a soak takes place: folders of its own, a real daemon started whenever there is none, and its workers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from cryobridge.bridge.client import DaemonClient
from cryobridge.schemas.wire import PROTOCOL, Channel, peer_uid

from .daemon_with_clock import SHIFT
from .history import Ended, History

LAUNCHER = Path(__file__).with_name("daemon_with_clock.py")
CLI = [sys.executable, "-I", "-m", "cryobridge.bridge.cli"]
WORKER_MODULE = "cryobridge.bridge.worker"
START_S = 20.0
DEADLINES = {
    "silence_s": 8.0,
    "standard_s": 30.0,
    "correct_s": 40.0,
    "partner_s": 15.0,
    "verify_s": 15.0,
    "cancel_s": 5.0,
    "drain_s": 5.0,
}
KEEP_ALIVE_S = 30.0
"""What a worker keeps of refinements that have ended would otherwise stay an hour: no RELION is seen to end here."""
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass
class Stage:
    """Everything that a run owns.

    Attributes
    ----------
    folder
        Holds all of it; short, because a socket's path may have 107 bytes.
    room
        A folder on a small file system of its own, or None where none may be mounted.
    filling
        Held by the deed that fills the room, or is about to.
    over
        Set when everything is to come to its end.
    services
        What users of other parts offer to deeds, by name (`refining`, `submitting`).
    """

    folder: Path
    history: History
    room: Path | None = None
    why_no_room: str = ""
    filling: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)
    wanted_gone: set[int] = field(default_factory=set)
    services: dict[str, Any] = field(default_factory=dict)
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _known: int | None = None
    _starting: threading.Lock = field(default_factory=threading.Lock)
    _clock: float = 0.0

    @classmethod
    @contextmanager
    def set(cls, history: History) -> Iterator[Stage]:
        """Make the folders; on the way out everything is ended and removed, whatever happened."""
        folder = Path(tempfile.mkdtemp(prefix="cb-soak-"))
        stage = cls(folder, history)
        try:
            for name in ("run", "state", "inbox", "home", "tmp", "jobs", "projects", "room"):
                (folder / name).mkdir(mode=0o700)
            stage._mount()
            stage.set_clock(0.0)
            config = {
                "devices": ["cpu"],
                "deadlines": DEADLINES,
                "idle_exit_s": 1e6,
                "keep_alive_s": KEEP_ALIVE_S,
                "inbox": str(stage.inbox),
                "state_dir": str(stage.state),
                "watch_roots": [str(folder / "projects")],
            }
            (folder / "config.yaml").write_text(yaml.safe_dump(config))
            yield stage
        finally:
            stage.over.set()
            stage.end_processes()
            stage._unmount()
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def socket(self) -> Path:
        """Where the daemon listens."""
        return self.folder / "run" / "socket"

    @property
    def state(self) -> Path:
        """The daemon's state folder; on the small file system where there is one."""
        return (self.room or self.folder) / "state"

    @property
    def inbox(self) -> Path:
        """The daemon's inbox."""
        return self.folder / "inbox"

    @property
    def environment(self) -> dict[str, str]:
        """For every process of the run: nothing of it is shared with the user's own."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("CRYOBRIDGE_", "ISONET_"))}
        home = self.folder / "home"
        return {
            **kept,
            **THREADS,
            "HOME": str(home),
            "TMPDIR": str(self.folder / "tmp"),
            # Torch's own cache, which is no temporary file of ours.
            "TORCHINDUCTOR_CACHE_DIR": str(home / "inductor"),
            "CRYOBRIDGE_SOCKET": str(self.socket),
            "CRYOBRIDGE_CONFIG": str(self.folder / "config.yaml"),
            **{f"XDG_{name}_HOME": str(home / name.lower()) for name in ("STATE", "CACHE", "CONFIG", "DATA")},
        }

    # ---- the daemon

    def start(self) -> None:
        """Start a daemon and wait until it answers; nothing is done where one listens already."""
        with self._starting:
            if self.daemon_pid() is not None or self.over.is_set():
                return
            with (self.folder / "daemon.out").open("ab") as output:
                said_before = output.tell()
                process = subprocess.Popen(
                    [sys.executable, str(LAUNCHER), str(self.folder / "clock"), "--socket", str(self.socket)],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            self._started.append(process)
            end = time.monotonic() + START_S
            while time.monotonic() < end and process.poll() is None and self.daemon_pid() is None:
                time.sleep(0.05)
            self._note_refusal(process, said_before)

    def keep(self) -> None:
        """Start the daemon again whenever there is none, and note which ended by themselves; until the end."""
        while not self.over.wait(0.3):
            self._note_ends()
            if self.daemon_pid() is None:
                self.start()

    def daemon_pid(self) -> int | None:
        """The process behind the socket as the kernel knows it; None when nobody listens."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(2)
            try:
                client.connect(str(self.socket))
            except OSError:
                return None
            pid, _, _ = peer_uid(client)
        return pid

    def workers(self) -> list[psutil.Process]:
        """The daemon's workers."""
        pid = self.daemon_pid()
        try:
            children = psutil.Process(pid).children(recursive=True) if pid else []
            return [child for child in children if WORKER_MODULE in child.cmdline()]
        except psutil.Error:
            return []

    def signal_daemon(self, number: signal.Signals) -> int | None:
        """Send the daemon a signal; one that ends it is remembered as wanted. Returns its process id."""
        pid = self.daemon_pid()
        if pid is None or pid == os.getpid():
            return None
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.wanted_gone.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return pid

    def set_clock(self, shift_s: float) -> None:
        """Move the daemon's time of day."""
        with (self.folder / "clock").open("r+b" if (self.folder / "clock").exists() else "wb") as file:
            file.write(SHIFT.pack(shift_s))
        self._clock = shift_s

    # ---- its clients

    def client(self, timeout_s: float = 5.0) -> DaemonClient:
        """A connection that has been greeted; raises `DaemonUnavailable`."""
        return DaemonClient.connect(self.environment, timeout_s=timeout_s)

    def raw(self) -> socket.socket:
        """A connection on which nothing was said yet."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(10)
        sock.connect(str(self.socket))
        return sock

    def channel(self, client: str = "cli") -> Channel:
        """A connection that has said hello, and has not read yet."""
        channel = Channel(self.raw())
        channel.send({"type": "hello", "protocol": PROTOCOL, "client": client, "version": "soak", "pid": os.getpid()})
        return channel

    def until(self, condition: Callable[[], object], limit_s: float, every_s: float = 0.1) -> bool:
        """Wait for something; false when it does not come in time or the run ends."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(every_s)
        return False

    # ---- inside

    def _note_ends(self) -> None:
        pid = self.daemon_pid()
        known = self._known
        if known is not None and pid != known and not lives(known):
            said = (self.folder / "daemon.out").read_text(errors="replace")
            served = any("daemon ready" in line and line.endswith(f" pid={known}") for line in said.splitlines())
            self.history.add(Ended(self.history.now_s, known, known in self.wanted_gone, said.strip()[-500:], served))
            self._known = None
        if pid is not None and self._known is None:
            self._known = pid
        for process in self._started:
            process.poll()

    def _note_refusal(self, process: subprocess.Popen[bytes], said_before: int) -> None:
        """Note that a daemon ended before anybody reached it, unless there was another one already."""
        if process.poll() is None or self.daemon_pid() is not None or process.pid in self.wanted_gone:
            return
        with (self.folder / "daemon.out").open("rb") as output:
            output.seek(said_before)
            words = output.read().decode(errors="replace").strip()[-500:]
        if "already listens" not in words:
            self.history.add(Ended(self.history.now_s, process.pid, wanted=False, words=words, served=False))

    def end_processes(self) -> list[str]:
        """End whatever belongs to this run, by its environment; returns the command lines of what was still there."""
        mark = str(self.socket)
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.pid != os.getpid() and process.environ().get("CRYOBRIDGE_SOCKET") == mark:
                    found.append(process)
            with contextlib.suppress(psutil.Error, OSError):
                if process not in found and mark in process.cmdline():
                    found.append(process)
        lines = []
        for process in found:
            with contextlib.suppress(psutil.Error):
                lines.append(f"{process.pid}: {' '.join(process.cmdline())}")
                process.kill()
        psutil.wait_procs(found, timeout=5)
        return lines

    def _mount(self) -> None:
        room = self.folder / "room"
        answer = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", str(room)], capture_output=True)
        if answer.returncode == 0:
            self.room = room
            (room / "state").mkdir(mode=0o700)
        else:
            self.why_no_room = "no right to mount a small file system here"

    def _unmount(self) -> None:
        if self.room is not None:
            subprocess.run(["umount", "-l", str(self.room)], check=False, capture_output=True)


def lives(pid: int) -> bool:
    """Whether there is a process with this id that has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
