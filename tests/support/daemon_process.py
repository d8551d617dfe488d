"""A real daemon process with fake workers, and a small hook to talk to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

import psutil
import yaml

from cryobridge.schemas.wire import PROTOCOL, Channel, Message, WireError, connect

HERE = Path(__file__).parents[1] / "faults" / "daemon"
PARTS = ("star", "data_real", "data_imag", "weight", "standard", "corrected")


class DaemonProcess:
    """One daemon in a folder of its own; `fake` sets what its workers do (see `fake_worker.py`)."""

    def __init__(self, folder: Path, **config) -> None:
        self.folder = folder
        self.socket = folder / "socket"
        self.process: subprocess.Popen | None = None
        deadlines = {"silence_s": 1.5, "cancel_s": 1.0, "worker_start_s": 20.0, "drain_s": 5.0}
        settings = {"devices": ["cpu"], "deadlines": {**deadlines, **config.pop("deadlines", {})}, **config}
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        self.fake()

    def fake(self, **behaviour) -> None:
        part = self.folder / "fake.part"
        part.write_text(json.dumps(behaviour))
        part.replace(self.folder / "fake.json")

    def command(self, *options: str) -> list[str]:
        return [
            sys.executable,
            str(HERE / "daemon_with_fakes.py"),
            str(HERE / "fake_worker.py"),
            *("--socket", str(self.socket), "--config", str(self.folder / "config.yaml"), *options),
        ]

    def launch(self, *options: str) -> subprocess.Popen:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("CRYOBRIDGE_")}
        environment["CRYOBRIDGE_FAKE"] = str(self.folder / "fake.json")
        with (self.folder / "daemon.out").open("ab") as output:
            return subprocess.Popen(self.command(*options), env=environment, stdout=output, stderr=output)

    def start(self, *options: str) -> DaemonProcess:
        self.process = self.launch(*options)
        wait_for(self.is_up, 15)
        return self

    def is_up(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
            return True

    def output(self) -> str:
        return (self.folder / "daemon.out").read_text()

    def worker_pid(self) -> int | None:
        return self.ask("status")["workers"][0]["pid"]

    def ready_worker(self) -> int:
        wait_for(lambda: self.ask("status")["workers"][0]["state"] == "ready", 15)
        return self.worker_pid()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> None:
        if self.process is None:
            return
        children = []
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self.process.pid).children(recursive=True)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()

    def connect(self, client: str = "cli", **hello) -> Channel:
        channel = Channel(connect(self.socket, 10))
        channel.send(
            {"type": "hello", "protocol": PROTOCOL, "client": client, "version": "test", "pid": os.getpid(), **hello}
        )
        return channel

    def ask(self, kind: str, **fields) -> Message:
        channel = self.connect()
        try:
            channel.receive(10)
            channel.send({"type": kind, **fields})
            while True:
                message = channel.receive(20).message
                if message["type"] in ("reply", "error"):
                    return message
        finally:
            channel.close()


class TestHook(threading.Thread):
    """A hook that does as the protocol says, in a thread; `sent` and `end` say what it was told."""

    __test__ = False

    def __init__(
        self,
        daemon: DaemonProcess,
        halves: list[int],
        iteration: int = 1,
        silence_s: float = 15.0,
        *,
        root: str = "run",
    ) -> None:
        super().__init__(daemon=True)
        self.daemon_process = daemon
        self.root = root
        self.halves = halves
        self.iteration = iteration
        self.silence_s = silence_s
        self.received: list[Message] = []
        self.ends: list[Message] = []
        self.lost: str | None = None
        self.seconds = 0.0
        self.channel: Channel | None = None
        self.folder = Path(tempfile.mkdtemp(dir=daemon.folder, prefix="hook-"))
        self.files = {
            f"half{half}.{part}": (self.folder / f"half{half}.{part}").open("w+b") for half in halves for part in PARTS
        }

    def run(self) -> None:
        began = time.monotonic()
        try:
            self._talk()
        except (WireError, OSError) as error:
            self.lost = f"{type(error).__name__}: {error}"
        finally:
            self.seconds = time.monotonic() - began
            if self.channel is not None:
                self.channel.close()

    def _talk(self) -> None:
        self.channel = self.daemon_process.connect("relion-hook")
        welcome = self.channel.receive(self.silence_s).message
        self.received.append(welcome)
        if welcome.get("state") != "ready":
            self.lost = str(welcome.get("state"))
            return
        self.channel.send(
            {
                "type": "call",
                "call_id": "t",
                "key": {
                    "job_dir": str(self.daemon_process.folder),
                    "root": self.root,
                    "iteration": self.iteration,
                    "kind": "class",
                    "number": 1,
                },
                "halves": self.halves,
                "environment": {},
                "settings": None,
                "fd_names": list(self.files),
            },
            [file.fileno() for file in self.files.values()],
        )
        while len(self.ends) < len(self.halves):
            message = self.channel.receive(self.silence_s).message
            self.received.append(message)
            if message["type"] in ("standard", "corrected"):
                self._check(message)
            if message["type"] == "corrected":
                self.channel.send({"type": "verified", "half": message["half"], "ticket": message["ticket"]})
            elif message["type"] in ("answer", "failed"):
                self.ends.append(message)
            elif message["type"] == "commit":
                self.ends += [message] * len(self.halves)
        self.channel.send({"type": "bye", "used": {}, "seconds": 0})

    def _check(self, message: Message) -> None:
        body = (self.folder / f"half{message['half']}.{message['type']}").read_bytes()
        assert (len(body), zlib.crc32(body)) == (message["size"], message["crc32"])

    def ended(self) -> tuple[str, str]:
        """The kind of its end and the code."""
        self.join(60)
        assert not self.is_alive(), self.received
        assert self.ends, (self.lost, self.received)
        return self.ends[0]["type"], self.ends[0].get("code", "")


def call_both(daemon: DaemonProcess, iteration: int = 1) -> tuple[TestHook, TestHook]:
    """Both halves of an iteration, calling now."""
    hooks = TestHook(daemon, [1], iteration), TestHook(daemon, [2], iteration)
    for hook in hooks:
        hook.start()
    return hooks


def wait_for(condition, limit_s: float = 10.0) -> None:
    """Wait until `condition()` is true; fails with a plain message otherwise."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"still not true after {limit_s} s")
