"""Clients that talk nonsense, stall, or bring what nobody asked for."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import struct
import time
from collections.abc import Callable

from cryobridge.schemas.bounds import MAX_CLIENT_FRAME_BYTES
from cryobridge.schemas.wire import MAX_FRAME_BYTES, PROTOCOL, WireError, send_with_fds

from ..stage import Stage
from .deed import Deed

Talk = Callable[[Stage, random.Random, contextlib.ExitStack], str]


def _framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def _hello(client: str = "cli", protocol: object = PROTOCOL) -> bytes:
    said = {"type": "hello", "protocol": protocol, "client": client, "version": "soak", "pid": 1}
    return _framed(json.dumps(said).encode())


def _connected(stage: Stage, stack: contextlib.ExitStack) -> socket.socket:
    return stack.enter_context(stage.raw())


def noise(stage: Stage, dice: random.Random, stack: contextlib.ExitStack) -> str:
    """Bytes that are no frames."""
    for _ in range(5):
        _connected(stage, stack).sendall(dice.randbytes(dice.choice((1, 3, 4, 1000, 100_000))))
    return "5 connections"


def odd_frames(stage: Stage, dice: random.Random, stack: contextlib.ExitStack) -> str:
    """JSON that is no message, or that no parser likes."""
    bodies = [
        b"[" * 100_000,
        b'{"type":' * 50_000,
        b'{"type":"status","x":' + b"9" * 200_000 + b"}",
        b'{"type":"status","x":NaN,"y":1e400}',
        b'{"type":["status"]}',
        b'{"type":"hello","fds":-1}',
        b'{"type":"hello","fds":60}',
        b"\xff\xfe\x00",
        b"null",
        b"",
    ]
    for body in bodies:
        for before in (b"", _hello()):
            with contextlib.suppress(OSError):
                _connected(stage, stack).sendall(before + _framed(body))
    return f"{len(bodies)} bodies"


def wrong_requests(stage: Stage, dice: random.Random, stack: contextlib.ExitStack) -> str:
    """Every request with fields of the wrong type; each is answered or hung up on, and none stops the service."""
    values: list[object] = [None, True, -1, 1e308, "x" * 5000, "\ud800", [], {}, [[]], {"a": {"b": []}}, 10**400, 0.5]
    names = ("job_id", "timeout_s", "limit", "spec", "session", "iteration", "box", "voxel_size_A", "symmetry")
    sent = 0
    for kind in REQUESTS:
        sock = _connected(stage, stack)
        with contextlib.suppress(OSError):
            sock.sendall(_hello())
            for _ in range(6):
                said = {"type": kind, **{name: dice.choice(values) for name in dice.sample(names, 4)}}
                sock.sendall(_framed(json.dumps(said).encode()))
                sent += 1
    return f"{sent} requests"


def half_a_frame(stage: Stage, dice: random.Random, stack: contextlib.ExitStack) -> str:
    """Frames that are announced large and come slowly, many at a time (D8)."""
    socks = []
    for _ in range(40):
        with contextlib.suppress(OSError):
            sock = _connected(stage, stack)
            sock.settimeout(2)
            sock.sendall(_hello() + struct.pack(">I", MAX_CLIENT_FRAME_BYTES - 1) + b"[" * 2_000_000)
            socks.append(sock)
    for _ in range(10):
        time.sleep(0.5)
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.sendall(b" ")
    return f"{len(socks)} connections"


def too_large_a_frame(stage: Stage, dice: random.Random, stack: contextlib.ExitStack) -> str:
    """More bytes announced than a frame may have."""
    for size in (MAX_FRAME_BYTES + 1, 2**32 - 1):
        with contextlib.suppress(OSError):
            _connected(stage, stack).sendall(struct.pack(">I", size) + b"x" * 1000)
    return "2 frames"


def unknown_keys(stage: Stage, dice: random.Random, stack: contextlib.ExitStack) -> str:
    """A job with very many keys that nobody knows (D8)."""
    keys = ",".join(f'"k{number}":0' for number in range(600_000))
    body = f'{{"type":"submit","spec":{{"schema":"cryobridge/job/1","kind":"map.fsc3d",{keys}}}}}'.encode()
    sock = _connected(stage, stack)
    with contextlib.suppress(OSError):
        sock.sendall(_hello() + _framed(body))
        sock.settimeout(20)
        sock.recv(65536)
    return f"{len(body) >> 20} MiB"


def unclaimed_descriptors(stage: Stage, dice: random.Random, stack: contextlib.ExitStack) -> str:
    """Descriptors that no frame announces (D8)."""
    null = os.open(os.devnull, os.O_RDONLY)
    stack.callback(os.close, null)
    sent = 0
    for _ in range(4):
        sock = _connected(stage, stack)
        sock.settimeout(2)
        with contextlib.suppress(OSError):
            sock.sendall(_hello())
            send_with_fds(sock, struct.pack(">I", 10_000), [null] * 60)
            for _ in range(100):
                send_with_fds(sock, b" ", [null] * 60)
                sent += 60
    time.sleep(2.0)
    return f"{sent} descriptors"


def many_connections(stage: Stage, dice: random.Random, stack: contextlib.ExitStack) -> str:
    """As many connections as one user may have, and none says a word, for less time than it may."""
    count = 0
    with contextlib.suppress(OSError):
        for _ in range(100):
            _connected(stage, stack)
            count += 1
    time.sleep(3.0)
    return f"{count} connections"


def never_reads(stage: Stage, dice: random.Random, stack: contextlib.ExitStack) -> str:
    """Asks for long answers and takes none."""
    sock = _connected(stage, stack)
    sock.settimeout(1)
    sent = 0
    with contextlib.suppress(OSError):
        sock.sendall(_hello())
        for _ in range(2000):
            sock.sendall(_framed(b'{"type":"jobs","limit":10000}'))
            sent += 1
    time.sleep(2.0)
    return f"{sent} requests"


def odd_calls(stage: Stage, dice: random.Random, stack: contextlib.ExitStack) -> str:
    """A hook's call whose descriptors are pipes, devices, folders, or not those that it names (D6)."""
    reading, writing = os.pipe()
    descriptors = [reading, writing, os.open("/dev/zero", os.O_RDWR), os.open("/", os.O_RDONLY)]
    for descriptor in descriptors:
        stack.callback(os.close, descriptor)
    parts = ("star", "data_real", "data_imag", "weight", "standard", "corrected")
    folder = str(stage.folder / "nowhere")
    said = 0
    for iteration in (1, -1, 10**12):
        sock = _connected(stage, stack)
        names = [f"half1.{part}" for part in dice.sample(parts, len(parts))]
        call = {
            "type": "call",
            "call_id": "odd",
            "key": {"job_dir": folder, "root": "run", "iteration": iteration, "kind": "class", "number": 1},
            "halves": [1],
            "environment": {},
            "settings": None,
            "fd_names": names,
            "fds": len(names),
        }
        with contextlib.suppress(OSError, WireError):
            sock.sendall(_hello("relion-hook"))
            send_with_fds(sock, _framed(json.dumps(call).encode()), [dice.choice(descriptors) for _ in names])
            sock.settimeout(6)
            while sock.recv(65536):
                said += 1
    return f"3 calls, {said} answers"


def other_versions(stage: Stage, dice: random.Random, stack: contextlib.ExitStack) -> str:
    """Peers of another version."""
    for protocol in (0, 2, 10**30, "1", None):
        with contextlib.suppress(OSError):
            _connected(stage, stack).sendall(_hello(protocol=protocol))
    return "5 protocols"


def _alone(talk: Talk) -> Callable[[Stage, random.Random], str]:
    """A deed of a conversation: its connections are closed afterwards; a daemon that is not there ends it."""

    def act(stage: Stage, dice: random.Random) -> str:
        with contextlib.ExitStack() as stack:
            try:
                return talk(stage, dice, stack)
            except OSError as error:
                return f"no conversation: {error}"

    return act


REQUESTS = ("status", "ps", "jobs", "logs", "cancel", "submit", "wait", "prepare", "release", "fly")
DEEDS = tuple(
    Deed(name, _alone(talk))
    for name, talk in (
        ("noise at the socket", noise),
        ("odd frames", odd_frames),
        ("wrong requests", wrong_requests),
        ("half a frame", half_a_frame),
        ("too large a frame", too_large_a_frame),
        ("unknown keys", unknown_keys),
        ("unclaimed descriptors", unclaimed_descriptors),
        ("many connections", many_connections),
        ("a client that never reads", never_reads),
        ("odd calls", odd_calls),
        ("other versions", other_versions),
    )
)
