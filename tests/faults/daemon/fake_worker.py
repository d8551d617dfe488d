"""A worker without torch, for tests of the daemon: standard library and frames only.

Started like the real one (`--fd N --device D`). `CRYOBRIDGE_FAKE` is a JSON object in a file named by the
environment, read at every frame, so that a test can change its behaviour while it runs:

    due           whether a correction is due (default true)
    half_s, correct_s, job_s    how long each takes
    die_on        frame type at which it exits with status 9
    stop_on       frame type at which it stops itself (SIGSTOP)
    fail_on       {frame type: [code, text]}
    exit_at_start whether it exits before it is ready
    deaf          ignore cancel
    stays         do not leave the device when told
    hang_on       frame type at which its main thread hangs for good, as in a read of a stuck file system
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
import time
import zlib
from pathlib import Path

from cryobridge.schemas.wire import Channel, ClosedError, Frame


def standard_map(half: int, iteration: int) -> bytes:
    return f"standard map of half {half}, iteration {iteration}, ".encode() * 50


def behaviour() -> dict:
    try:
        return json.loads(Path(os.environ["CRYOBRIDGE_FAKE"]).read_text())
    except (KeyError, OSError, ValueError):
        return {}


class FakeWorker:
    why_not_due = "correction starts later"

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.lock = threading.Lock()
        self.cancelled: set[str] = set()
        self.kept: dict[str, tuple[dict, dict[str, int]]] = {}
        self.wake = threading.Condition()
        self.frames: list[Frame] = []
        self.hangs: tuple[str, float] | None = None

    def send(self, message: dict) -> None:
        with self.lock:
            self.channel.send(message)

    def beat(self) -> None:
        while True:
            try:
                task, since = self.hangs or ("", time.monotonic())
                still_s = time.monotonic() - since
                self.send({"type": "heartbeat", "rss_bytes": 12345, "still_s": still_s, "still_task": task})
            except ClosedError:
                os._exit(0)
            time.sleep(0.1)

    def read(self) -> None:
        while True:
            try:
                frame = self.channel.receive()
            except ClosedError:
                os._exit(0)
            with self.wake:
                if frame.type == "cancel":
                    if not behaviour().get("deaf"):
                        self.cancelled.add(frame.message["task"])
                else:
                    self.frames.append(frame)
                self.wake.notify()

    def work(self, task: str, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            end += self.stand_aside()
            if task in self.cancelled:
                self.send({"type": "failed", "task": task, "code": "cancelled", "text": "cancelled on request"})
                return False
            time.sleep(0.01)
        return True

    def stand_aside(self) -> float:
        """Leave the device if that was asked for, and stay away as long; for how many seconds."""
        if not self.taken("leave_device"):
            return 0.0
        began = time.monotonic()
        if behaviour().get("stays"):
            return 0.0
        self.send({"type": "device_left"})
        while not self.taken("come_back"):
            time.sleep(0.01)
        return time.monotonic() - began

    def taken(self, kind: str) -> bool:
        with self.wake:
            found = next((frame for frame in self.frames if frame.type == kind), None)
            if found is not None:
                self.frames.remove(found)
            return found is not None

    def standard(self, message: dict) -> bytes:
        return standard_map(message["half"], message["iteration"])

    def corrected(self, message: dict) -> bytes:
        return b"corrected " + self.standard(message)

    def is_due(self, message: dict, wanted: dict) -> bool:
        return bool(wanted.get("due", True)) and message["half"] != 0

    def run(self, device: str) -> int:
        self.send({"type": "ready", "device": device, "device_name": "fake", "pid": os.getpid()})
        threading.Thread(target=self.beat, daemon=True).start()
        threading.Thread(target=self.read, daemon=True).start()
        while True:
            with self.wake:
                while not self.frames:
                    self.wake.wait()
                frame = self.frames.pop(0)
            if frame.type == "stop":
                return 0
            self.handle(frame)

    def handle(self, frame: Frame) -> None:
        wanted = behaviour()
        task = str(frame.message.get("task", ""))
        if wanted.get("die_on") == frame.type:
            print("fake worker dies as told", file=sys.stderr, flush=True)
            os._exit(9)
        if wanted.get("stop_on") == frame.type:
            os.kill(os.getpid(), signal.SIGSTOP)
        if wanted.get("hang_on") == frame.type:
            self.hangs = (task, time.monotonic())
            threading.Event().wait()
        if frame.type in wanted.get("fail_on", {}):
            code, text = wanted["fail_on"][frame.type]
            self.send({"type": "failed", "task": task, "code": code, "text": text})
            return
        handler = getattr(self, f"on_{frame.type}", None)
        if handler is not None:
            handler(frame, task, wanted)

    def on_half(self, frame: Frame, task: str, wanted: dict) -> None:
        message = frame.message
        fds = dict(zip(message["fd_names"], frame.fds, strict=True))
        frame.fds.clear()
        self.send({"type": "progress", "task": task, "text": f"half {message['half']}", "fraction": None})
        if not self.work(task, wanted.get("half_s", 0.0)):
            return
        body = self.standard(message)
        fd = fds[f"half{message['half']}.standard"]
        os.ftruncate(fd, 0)
        os.pwrite(fd, body, 0)
        due = self.is_due(message, wanted)
        if due:
            self.kept[task] = (message, fds)
        else:
            for fd in fds.values():
                os.close(fd)
        self.send(
            {
                "type": "standard",
                "task": task,
                "half": message["half"],
                "size": len(body),
                "crc32": zlib.crc32(body),
                "seconds": 0.0,
                "due": due,
                "code": "" if due else "not_due",
                "line": "" if due else self.why_not_due,
                "deadline_s": wanted.get("deadline_s"),
                "wait_partner_s": wanted.get("wait_partner_s"),
            }
        )

    def on_correct(self, frame: Frame, task: str, wanted: dict) -> None:
        halves = [self.kept[frame.message[name]] for name in ("half1", "half2")]
        if not self.work(task, wanted.get("correct_s", 0.0)):
            return
        maps = {}
        for message, fds in halves:
            body = self.corrected(message)
            fd = fds[f"half{message['half']}.corrected"]
            os.pwrite(fd, body, 0)
            maps[str(message["half"])] = {"size": len(body), "crc32": zlib.crc32(body)}
        self.send(
            {"type": "corrected", "task": task, "maps": maps, "line": "corrected", "session": None, "metrics": {"x": 1}}
        )

    def on_forget(self, frame: Frame, task: str, wanted: dict) -> None:
        for fd in self.kept.pop(task, ({}, {}))[1].values():
            os.close(fd)

    def on_leave_device(self, frame: Frame, task: str, wanted: dict) -> None:
        self.frames.insert(0, frame)
        self.stand_aside()

    def on_urgent_job(self, frame: Frame, task: str, wanted: dict) -> None:
        self.on_job(frame, task, wanted)

    def on_job(self, frame: Frame, task: str, wanted: dict) -> None:
        self.send({"type": "progress", "task": task, "text": "working", "fraction": 0.5})
        if self.work(task, wanted.get("job_s", 0.0)):
            self.send({"type": "done", "task": task, "result": {"kind": frame.message["spec"]["kind"]}})


def main(kind: type[FakeWorker] = FakeWorker) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--device", required=True)
    arguments = parser.parse_args()
    if behaviour().get("exit_at_start"):
        print("fake worker cannot start", file=sys.stderr, flush=True)
        return 3
    return kind(Channel(socket.socket(fileno=arguments.fd))).run(arguments.device)


if __name__ == "__main__":
    sys.exit(main())
