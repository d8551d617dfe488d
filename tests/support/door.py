"""A server of the daemon's on the test's loop, and the sockets that connect to it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryobridge.bridge.daemon.server import Client, Server
from cryobridge.schemas.messages import Heartbeat
from cryobridge.schemas.wire import PROTOCOL, Frame, Message, encode

from .fake_pool import open_descriptors


class Answers:
    """Hooks and requests at once: notes who asked, and answers with a heartbeat or with many bytes."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Callable[[Client], None] = lambda client: client.send(Heartbeat())

    def handle(self, client: Client, message: Message) -> None:
        self.asked.append(str(message["who"]))
        self.answer(client)

    def call(self, link: Any, frame: Frame) -> None:
        frame.close()
        self.asked.append("hook")

    def verified(self, link: Any, frame: Any) -> None:
        raise AssertionError

    def bye(self, link: Any, frame: Any) -> None:
        raise AssertionError

    def gone(self, client: Any) -> None:
        pass


class Door:
    """A server on the test's loop, and sockets that connect to it."""

    def __init__(self, path: Path, max_connections: int) -> None:
        self.path = path
        self.answers = Answers()
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen(128)
        listening.setblocking(False)
        self.listening = listening
        loop = asyncio.get_running_loop()
        state = ("ready", "")
        self.server = Server(
            loop, listening, self.answers, self.answers, None, lambda _: state, "id", os.getpid(), max_connections
        )
        self.server.start()
        self.socks: list[socket.socket] = []

    async def connect(self, kind: str | None = "cli") -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.path))
        sock.setblocking(False)
        self.socks.append(sock)
        if kind is not None:
            sock.send(encode({"type": "hello", "protocol": PROTOCOL, "client": kind, "version": "0", "pid": 1}))
        await settle()
        return sock

    def close(self) -> None:
        self.server.close()
        self.listening.close()
        for sock in self.socks:
            sock.close()


async def settle(turns: int = 30) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


@asynccontextmanager
async def door(path: Path, max_connections: int = 64) -> AsyncIterator[Door]:
    before = open_descriptors()
    one = Door(path / "socket", max_connections)
    try:
        yield one
    finally:
        one.close()
        await settle()
    assert open_descriptors() == before


def is_open(sock: socket.socket) -> bool:
    """Whether the server still listens to a socket; what it said is read."""
    try:
        while sock.recv(1 << 20):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def request(who: str) -> bytes:
    return encode({"type": "status", "who": who})
