"""What hostile clients and job files cost a real daemon: bounded memory, and others are served meanwhile.

Each rule has a test of its own elsewhere (`docs/security.md` has the list); here its whole cost is looked at, as the
kernel counts it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess, TestHook, call_both, wait_for

from cryobridge.schemas.wire import PROTOCOL, encode

pytestmark = pytest.mark.faults

MOST_MB = 96.0
"""That anything here may add to the daemon's peak; each attack once took a gigabyte or more."""
MOST_CPU_S = 10.0
CONNECTIONS = 60
SERVED_S = 20.0
"""A call and a question have their answer by then; on a quiet machine within a blink."""
HELLO = encode({"type": "hello", "protocol": PROTOCOL, "client": "cli", "version": "0", "pid": 1})


class Intruder:
    """Many connections to one daemon that say what no honest client says."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon
        self.socks: list[socket.socket] = []

    def connect(self, *, greeted: bool = True) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        self.socks.append(sock)
        sock.settimeout(5)
        sock.connect(str(self.daemon.socket))
        if greeted:
            sock.sendall(HELLO)
        sock.settimeout(0.2)
        return sock

    def send(self, sock: socket.socket, data: bytes) -> None:
        """As much of it as is taken."""
        with contextlib.suppress(OSError):
            sock.sendall(data)

    def close(self) -> None:
        for sock in self.socks:
            sock.close()


def too_large(intruder: Intruder) -> None:
    for size in (2**32 - 1, 2**31, 17 * 2**20):
        sock = intruder.connect()
        intruder.send(sock, struct.pack(">I", size) + b"{" * 100_000)


def million_keys(intruder: Intruder) -> None:
    keys = b",".join(b'"k%d":0' % number for number in range(250_000))
    body = b'{"type":"submit","spec":{' + keys + b"}}"
    for _ in range(4):
        intruder.send(intruder.connect(), struct.pack(">I", len(body)) + body)


def deep(intruder: Intruder) -> None:
    body = b'{"type":"submit","spec":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"
    for _ in range(4):
        intruder.send(intruder.connect(), struct.pack(">I", len(body)) + body)


def parts(intruder: Intruder) -> None:
    for _ in range(CONNECTIONS):
        sock = intruder.connect()
        intruder.send(sock, struct.pack(">I", 4 * 2**20 - 100) + b'{"type":"' + b"x" * (3 * 2**20))


def drip(intruder: Intruder) -> None:
    socks = [intruder.connect() for _ in range(CONNECTIONS)]
    for _ in range(20):
        for sock in socks:
            intruder.send(sock, b"\0\0\1\0"[:1])
        time.sleep(0.02)


def descriptors(intruder: Intruder) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for _ in range(CONNECTIONS):
        sock = intruder.connect()
        with contextlib.suppress(OSError):
            for _ in range(4):
                socket.send_fds(sock, [b"\0"], [null] * 60)
    os.close(null)


def questions(intruder: Intruder) -> None:
    for _ in range(4):
        intruder.send(intruder.connect(), encode({"type": "jobs", "limit": 10_000}) * 20_000)


def silence(intruder: Intruder) -> None:
    for _ in range(3 * CONNECTIONS):
        with contextlib.suppress(OSError):
            intruder.connect(greeted=False)


ATTACKS = (too_large, million_keys, deep, parts, drip, descriptors, questions, silence)


@pytest.fixture
def intruder(daemon: DaemonProcess) -> Iterator[Intruder]:
    one = Intruder(daemon)
    yield one
    one.close()


def peak_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1e3


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_hostile_client_costs_little_and_others_are_served(
    daemon: DaemonProcess, intruder: Intruder, attack: Callable[[Intruder], None]
) -> None:
    daemon.ready_worker()
    assert [hook.ended()[0] for hook in call_both(daemon, 1)] == ["commit", "commit"]
    pid = daemon.process.pid
    fds, peak, computed = len(os.listdir(f"/proc/{pid}/fd")), peak_mb(pid), processor_s(pid)
    attack(intruder)
    hooks = TestHook(daemon, [1], 2, SERVED_S), TestHook(daemon, [2], 2, SERVED_S)
    for hook in hooks:
        hook.start()
    assert [hook.ended()[0] for hook in hooks] == ["commit", "commit"]
    intruder.close()
    assert daemon.ask("status")["health"]["problems"] == []
    assert peak_mb(pid) - peak < MOST_MB
    assert processor_s(pid) - computed < MOST_CPU_S
    wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= fds + 1, 20)


def laughs() -> bytes:
    lines = ["a0: &a0 ha"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    return "\n".join([*lines, "kind: *a9"]).encode()


FILES: dict[str, bytes] = {
    "laughs": laughs(),
    "deep": b"kind: " + b"[" * 100_000,
    "deep map": b"{a: " * 20_000,
    "long number": b"schema: 0x" + b"f" * 200_000,
    "base of 60": b"schema: " + b"59:" * 80_000 + b"59",
    "many keys": b"\n".join(b"k%d: 0" % n for n in range(30_000)),
    "large": b"kind: map.fsc3d\n" + b"# x\n" * 5_000_000,
    "runs something": b"kind: !!python/object/apply:os.system ['touch ran']",
    "no text": bytes(range(256)) * 100,
}


def test_hostile_job_files_cost_little_and_each_has_its_answer(
    make_daemon: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    daemon = make_daemon(inbox=str(inbox)).start()
    daemon.ready_worker()
    pid = daemon.process.pid
    peak = peak_mb(pid)
    for name, data in FILES.items():
        (inbox / f"{name}.yaml").write_bytes(data)
    answers = [inbox / f"{name}.error.txt" for name in FILES]
    wait_for(lambda: all(path.exists() for path in answers), 60)
    for path in answers:
        text = path.read_text().strip()
        assert len(text) < 1000, path.name
        assert "\n" not in text
    assert peak_mb(pid) - peak < MOST_MB
    assert not list(tmp_path.rglob("ran"))
    assert [hook.ended()[0] for hook in call_both(daemon, 1)] == ["commit", "commit"]
