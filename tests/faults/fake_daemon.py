"""A daemon that follows a script, for tests of the hook: real wire, real descriptors, no reconstruction.

Run as `python fake_daemon.py SOCKET SCENARIO.json LOG.jsonl`. The scenario holds `welcome` (fields that replace the
usual ones), and `script`: for each set of halves ("1", "2", "0", "12") the steps to take after the call has come.
Every message received is written to the log as one JSON line.
"""

import json
import os
import signal
import socket
import struct
import sys
import threading
import time
import zlib

import numpy as np

from cryobridge.schemas import wire

TICKET = "ticket-1"


def map_bytes(half: int, box: int, kind: str) -> bytes:
    """An MRC file with a map that tells which half and kind it is."""
    generator = np.random.default_rng(half)
    values = generator.standard_normal((box, box, box)).astype("<f4")
    if kind == "corrected":
        values *= 1.25
    if kind == "nan":
        values[box // 2, 0, 0] = np.nan
    if kind == "wild":
        values *= 1e6
    shape = (box, box, box) if kind != "small" else (box // 2,) * 3
    values = values[tuple(slice(n) for n in shape)]
    header = bytearray(1024)
    struct.pack_into("<4i", header, 0, shape[2], shape[1], shape[0], 2)
    clean = np.nan_to_num(values)
    struct.pack_into("<3f", header, 76, clean.min(), clean.max(), clean.mean())
    struct.pack_into("<f", header, 216, clean.std())
    header[208:216] = b"MAP DA\0\0"
    return bytes(header) + values.tobytes()


class Fake:
    """One fake daemon: a thread per connection."""

    def __init__(self, scenario: dict, log_path: str) -> None:
        self.scenario = scenario
        self.log_fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.barriers: dict[str, threading.Barrier] = {}
        self.verified: dict[wire.Channel, set[int]] = {}
        self.lock = threading.Lock()

    def log(self, **entry: object) -> None:
        os.write(self.log_fd, (json.dumps(entry) + "\n").encode())

    def serve(self, path: str) -> None:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(8)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=self.talk, args=(wire.Channel(sock),), daemon=True).start()

    def talk(self, channel: wire.Channel) -> None:
        fds: dict[str, int] = {}
        try:
            self.log(got=channel.receive(30).message)
            if self.scenario.get("mute"):
                time.sleep(600)
            welcome = {
                "type": "welcome",
                "protocol": wire.PROTOCOL,
                "version": "0",
                "daemon_id": "fake",
                "state": "ready",
            }
            channel.send(welcome | self.scenario.get("welcome", {}))
            call = channel.receive(30)
            self.log(got=call.message)
            fds |= dict(zip(call.message["fd_names"], call.fds, strict=True))
            for step in self.scenario["script"]["".join(map(str, call.message["halves"]))]:
                self.step(channel, call.message, fds, list(step))
            while True:
                self.log(got=channel.receive(30).message)
        except (wire.WireError, OSError, threading.BrokenBarrierError) as error:
            self.log(ended=repr(error))
        finally:
            for fd in fds.values():
                os.close(fd)
            channel.close()

    def step(self, channel: wire.Channel, call: dict, fds: dict[str, int], step: list) -> None:
        verb, *rest = step
        halves = call["halves"]
        if verb in {"standard", "corrected"}:
            kind, more = (rest[0] if rest else verb), (rest[1] if len(rest) > 1 else halves[0])
            # A half, or fields that the frame has besides.
            told = {"half": halves[0], **more} if isinstance(more, dict) else {"half": more}
            self.send_map(channel, fds, told["half"], verb, kind, told)
        elif verb == "send":
            channel.send(rest[0])
        elif verb == "beat":
            end = time.monotonic() + rest[0]
            while time.monotonic() < end:
                channel.send({"type": "heartbeat"})
                time.sleep(0.1)
        elif verb == "sleep":
            time.sleep(rest[0])
        elif verb == "verified":
            wanted, agreed = (rest[0] if rest else halves[0]), self.verified.setdefault(channel, set())
            # Either half may be first to agree.
            while wanted not in agreed:
                frame = channel.receive(30)
                self.log(got=frame.message)
                if frame.type == "verified":
                    agreed.add(frame.message["half"])
        elif verb == "meet":
            with self.lock:
                barrier = self.barriers.setdefault(rest[0], threading.Barrier(2, timeout=20))
            barrier.wait()
        elif verb == "close":
            raise wire.ClosedError("as scripted")
        elif verb == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif verb == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif verb == "garbage":
            channel.sock.sendall(b"\0\0\0\5hello")
        elif verb == "page":
            os.pwrite(fds["report_out"], rest[0].encode(), 0)
        elif verb == "session":
            os.pwrite(fds["session_out"], b"warm", 0)
        else:
            raise ValueError(verb)

    def send_map(self, channel: wire.Channel, fds: dict[str, int], half: int, verb: str, kind: str, told: dict) -> None:
        star = os.pread(fds[f"half{half}.star"], 65536, 0).decode()
        box = next(int(line.split()[1]) for line in star.splitlines() if line.startswith("_rlnOriginalImageSize"))
        data = map_bytes(half, box, kind)
        fd = fds[f"half{half}.{verb}"]
        written = data[: len(data) // 2] if kind == "cut" else data
        os.pwrite(fd, written, 0)
        os.ftruncate(fd, len(written))
        message = {
            "type": verb,
            "half": half,
            "size": len(data),
            "crc32": zlib.crc32(data) ^ (1 if kind == "crc" else 0),
            "seconds": 0.1,
        }
        if verb == "corrected":
            session = {"size": 4, "crc32": zlib.crc32(b"warm")} if "session_out" in fds else None
            message |= {"ticket": TICKET, "line": "3.9 A, sphericity 0.8 to 0.9", "session": session}
        elif half == 1:
            message["call"] = "c0ffee12"
        channel.send(message | told)


if __name__ == "__main__":
    socket_path, scenario_path, log_file = sys.argv[1:]
    with open(scenario_path) as file:
        Fake(json.load(file), log_file).serve(socket_path)
