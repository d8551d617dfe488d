"""A real worker process with the test in the daemon's place."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from cryobridge.schemas.wire import Channel, Frame
from cryobridge.wrappers.relion.demo import jobfiles
from cryobridge.wrappers.relion.hook.names import parse_call

from .refinement import SETTINGS


class RealWorker:
    """Starts `cryobridge.bridge.worker` on the CPU and talks to it as the daemon does."""

    def __init__(self, threads: int = 1, **environment: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-m",
                "cryobridge.bridge.worker",
                "--fd",
                str(theirs.fileno()),
                "--device",
                "cpu",
                "--threads",
                str(threads),
            ],
            pass_fds=[theirs.fileno()],
            env={**os.environ, **environment},
        )
        theirs.close()
        self.channel = Channel(ours)
        self.progress: list[str] = []
        self.without: set[str] = set()
        """Descriptors that are not handed over."""

    def send_half(self, task: str, project: Path, star: Path, half: int, outputs: Path, **extra: str | dict) -> None:
        """Hand over one call: the files that RELION wrote, and new files for the answers."""
        base = project / star.with_suffix("")
        root = project / jobfiles.ROOT
        iteration = parse_call(star.name).iteration
        before = f"{root}_it{iteration - 1:03d}"
        files = {
            f"half{half}.star": (f"{base}.star", os.O_RDONLY),
            f"half{half}.data_real": (f"{base}_data_real.mrc", os.O_RDONLY),
            f"half{half}.data_imag": (f"{base}_data_imag.mrc", os.O_RDONLY),
            f"half{half}.weight": (f"{base}_weight.mrc", os.O_RDONLY),
            "optimiser_start": (f"{root}_it000_optimiser.star", os.O_RDONLY),
            "optimiser": (f"{before}_optimiser.star", os.O_RDONLY),
            "sampling": (f"{before}_sampling.star", os.O_RDONLY),
            "model": (f"{before}_half1_model.star", os.O_RDONLY),
            "data": (f"{before}_data.star", os.O_RDONLY),
            "mask": (str(project / "data/mask.mrc"), os.O_RDONLY),
            f"half{half}.standard": (str(outputs / f"{task}_standard.mrc"), os.O_RDWR | os.O_CREAT),
            f"half{half}.corrected": (str(outputs / f"{task}_corrected.mrc"), os.O_RDWR | os.O_CREAT),
        }
        if extra.pop("no_room", False):
            del files[f"half{half}.corrected"]
        if half == 1:
            files["session_out"] = (str(outputs / "session.part"), os.O_RDWR | os.O_CREAT)
            if (outputs / "session.safetensors").exists():
                files["session_in"] = (str(outputs / "session.safetensors"), os.O_RDONLY)
        for name in self.without:
            del files[name]
        fds = [os.open(path, flags, 0o600) for path, flags in files.values()]
        message = {
            "type": "half",
            "task": task,
            "session": str(root),
            "iteration": iteration,
            "half": half,
            "kind": "class",
            "number": 1,
            "environment": extra.pop("environment", {}),
            "settings": extra.pop("settings", SETTINGS),
            "fd_names": list(files),
            **extra,
        }
        self.channel.send(message, fds)
        for fd in fds:
            os.close(fd)

    def reply(self, kind: str | tuple[str, ...], timeout_s: float = 90.0) -> Frame:
        """Wait for a frame of this type; progress and heartbeats are passed over, a failure is not."""
        kinds = (kind,) if isinstance(kind, str) else kind
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            frame = self.channel.receive(timeout_s)
            if frame.type in kinds:
                return frame
            if frame.type == "progress":
                self.progress.append(frame.message["text"])
            assert frame.type in ("progress", "heartbeat", "ready"), frame.message
        raise TimeoutError(f"no {kinds} within {timeout_s} s")

    def end(self) -> None:
        """End the process; a closed connection is enough for it."""
        self.channel.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
