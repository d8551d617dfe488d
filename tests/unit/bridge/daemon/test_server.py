"""The server's door: what one user's clients hold is bounded, each has its turn, and hooks find room."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.fake_pool import open_descriptors

from cryobridge.bridge.daemon import server as server_module
from cryobridge.bridge.daemon.server import Client, Server
from cryobridge.bridge.pool import connection as connection_module
from cryobridge.schemas import bounds
from cryobridge.schemas.messages import Heartbeat
from cryobridge.schemas.wire import PROTOCOL, Frame, Message, encode, send_with_fds


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
            loop, listening, self.answers, self.answers, lambda: state, "id", os.getpid(), max_connections
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


def test_descriptors_that_no_message_claims_end_their_connection(tmp_path: Path) -> None:
    async def attack() -> None:
        async with door(tmp_path) as one:
            null = os.open(os.devnull, os.O_RDONLY)
            before = open_descriptors()
            for _ in range(10):
                sock = await one.connect()
                send_with_fds(sock, struct.pack(">I", 10_000), [null] * 60)
                await settle()
            held = open_descriptors() - before - 2 * sum(is_open(sock) for sock in one.socks)
            assert held <= bounds.MAX_UNCLAIMED_FDS_PER_USER + 10
            greedy = await one.connect()
            for _ in range(2):
                send_with_fds(greedy, b"....", [null] * 40)
            await settle()
            assert not is_open(greedy)
            assert is_open(await one.connect("relion-hook"))
            os.close(null)

    asyncio.run(attack())


def test_parts_of_messages_of_one_user_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_PARTIAL_BYTES_PER_USER", 1_000_000)

    async def attack() -> None:
        async with door(tmp_path) as one:
            for _ in range(10):
                sock = await one.connect()
                data = struct.pack(">I", 4_000_000) + b"[" * 300_000
                while data and is_open(sock):
                    try:
                        data = data[sock.send(data) :]
                    except OSError:
                        break
                    await settle(3)
            kept = [sock for sock in one.socks if is_open(sock)]
            assert len(kept) == 3
            small = await one.connect()
            small.send(struct.pack(">I", 10_000) + b"[" * 100)
            await settle()
            assert is_open(small)

    asyncio.run(attack())


def test_a_message_that_comes_byte_by_byte_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CLIENT_FRAME_LIMIT_S", 0.3)

    async def attack() -> None:
        async with door(tmp_path) as one:
            slow, honest = await one.connect(), await one.connect()
            slow.send(struct.pack(">I", 1000))
            for _ in range(8):
                honest.send(request("honest"))
                if is_open(slow):
                    slow.send(b" ")
                await asyncio.sleep(0.06)
            assert not is_open(slow)
            assert is_open(honest)
            assert one.answers.asked == ["honest"] * 8

    asyncio.run(attack())


@pytest.mark.parametrize("length", [bounds.MAX_CLIENT_FRAME_BYTES + 1, 2**32 - 1])
def test_a_client_may_announce_no_more_than_a_clients_message_has(tmp_path: Path, length: int) -> None:
    async def attack() -> None:
        async with door(tmp_path) as one:
            sock = await one.connect()
            sock.send(struct.pack(">I", length))
            await settle()
            assert not is_open(sock)

    asyncio.run(attack())


def test_very_many_values_are_refused_before_they_are_read(tmp_path: Path) -> None:
    async def attack() -> None:
        async with door(tmp_path) as one:
            sock = await one.connect()
            body = b'{"type":"status","who":"x","x":[' + b"0," * 200_000 + b"0]}"
            data = struct.pack(">I", len(body)) + body
            while data:
                data = data[sock.send(data) :]
                await settle(3)
            await settle()
            assert not is_open(sock)
            assert one.answers.asked == []

    asyncio.run(attack())


def test_many_requests_in_a_row_leave_turns_for_others(tmp_path: Path) -> None:
    async def attack() -> None:
        async with door(tmp_path) as one:
            many, single = await one.connect(), await one.connect()
            many.send(request("many") * 1000)
            single.send(request("single"))
            for _ in range(200):
                await asyncio.sleep(0)
            assert one.answers.asked.count("many") == 1000
            assert one.answers.asked.index("single") <= 3 * bounds.FRAMES_PER_TURN

    asyncio.run(attack())


def test_a_client_that_takes_no_answers_is_not_heard_until_it_does(tmp_path: Path) -> None:
    async def attack() -> None:
        async with door(tmp_path) as one:
            one.answers.answer = lambda client: client.connection.send({"type": "x", "text": "y" * 500_000})
            sock = await one.connect()
            sock.send(request("deaf") * 50)
            await settle(200)
            assert len(one.answers.asked) < 10
            for _ in range(500):
                assert is_open(sock)
                await settle(3)
            assert len(one.answers.asked) == 50

    asyncio.run(attack())


def test_hooks_find_room_whatever_other_clients_of_their_user_do(tmp_path: Path) -> None:
    async def attack() -> None:
        async with door(tmp_path, max_connections=16) as one:
            clients = [await one.connect() for _ in range(8)]
            assert sum(is_open(sock) for sock in clients) == 6
            assert is_open(await one.connect("relion-hook"))

    asyncio.run(attack())


def test_connections_that_say_nothing_give_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "GREETING_S", 0.05)

    async def attack() -> None:
        async with door(tmp_path, max_connections=16) as one:
            silent = [await one.connect(None) for _ in range(8)]
            await asyncio.sleep(0.1)
            hook = await one.connect("relion-hook")
            assert is_open(hook)
            assert [is_open(sock) for sock in silent] == [False] + [True] * 7

    asyncio.run(attack())


def test_frames_that_wait_for_their_turn_are_closed_with_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "FRAMES_PER_TURN", 1)

    async def attack() -> None:
        async with door(tmp_path) as one:
            null = os.open(os.devnull, os.O_RDONLY)
            sock = await one.connect()
            one.answers.answer = Client.close
            sock.send(request("first"))
            send_with_fds(sock, encode({"type": "x", "who": "second"}, 3), [null] * 3)
            os.close(null)
            await settle()
            assert one.answers.asked == ["first"]

    asyncio.run(attack())
