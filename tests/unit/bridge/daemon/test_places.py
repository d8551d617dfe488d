"""Places at the door: hooks find room beside whatever else their user does, and other users beside whatever two do."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from support.door import door, is_open, request, settle

from cryobridge.bridge.daemon import server as server_module
from cryobridge.schemas import bounds
from cryobridge.schemas.messages import CallFailed
from cryobridge.schemas.wire import PROTOCOL, encode


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


@pytest.mark.parametrize("kind", [None, "relion-hook"])
def test_connections_that_do_nothing_give_way_however_often_they_come_anew(tmp_path: Path, kind: str | None) -> None:
    async def attack() -> None:
        async with door(tmp_path, max_connections=16) as one:
            for _ in range(3):
                idle = [await one.connect(kind) for _ in range(8)]
                hook = await one.connect("relion-hook")
                hook.send(encode({"type": "call", "halves": [1]}))
                await settle()
                assert is_open(hook)
                assert [is_open(sock) for sock in idle] == [False] + [True] * 7
                for sock in (*idle, hook):
                    sock.close()
                await settle()

    asyncio.run(attack())


def test_a_greeting_that_has_come_is_heard_before_its_connection_gives_way(tmp_path: Path) -> None:
    async def attack() -> None:
        async with door(tmp_path, max_connections=16) as one:
            socks = []
            for _ in range(12):
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(str(one.path))
                sock.setblocking(False)
                sock.send(encode({"type": "hello", "protocol": PROTOCOL, "client": "relion-hook"}))
                sock.send(encode({"type": "call", "halves": [1]}))
                socks.append(sock)
            one.socks += socks
            await settle()
            assert [is_open(sock) for sock in socks] == [True] * 8 + [False] * 4
            assert one.answers.asked == ["hook"] * 8

    asyncio.run(attack())


def test_a_hook_that_waits_for_its_map_is_never_sent_away(tmp_path: Path) -> None:
    async def attack() -> None:
        async with door(tmp_path, max_connections=16) as one:
            calling = await one.connect("relion-hook")
            calling.send(encode({"type": "call", "halves": [1]}))
            await settle()
            for _ in range(30):
                await one.connect("relion-hook")
                await one.connect(None)
            assert is_open(calling)
            (client,) = (client for client in one.server._clients if client.waits_for)
            client.send(CallFailed(text="no such file"))
            for _ in range(30):
                await one.connect("relion-hook")
            assert not is_open(calling)

    asyncio.run(attack())


def test_two_users_cannot_keep_a_third_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = [1001]

    async def attack() -> None:
        async with door(tmp_path, max_connections=16) as one:
            for users[0] in (1001, 1002):
                for kind in ("cli", "relion-hook") * 10:
                    sock = await one.connect(kind)
                    if kind == "relion-hook" and is_open(sock):
                        sock.send(encode({"type": "call", "halves": [1]}))
                        await settle()
            assert one.server.clients == 14
            for users[0] in (1003, 1004):
                assert is_open(await one.connect("relion-hook"))
                assert is_open(await one.connect("relion-hook"))

    monkeypatch.setattr(server_module, "peer_uid", lambda sock: (1, users[0], 1))
    asyncio.run(attack())


def test_many_new_connections_leave_turns_for_those_that_are_there(tmp_path: Path) -> None:
    async def attack() -> None:
        async with door(tmp_path, max_connections=256) as one:
            there = await one.connect()
            for _ in range(100):
                sock = socket.socket(socket.AF_UNIX)
                sock.connect(str(one.path))
                one.socks.append(sock)
            there.send(request("there"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert one.answers.asked == ["there"]
            assert one.server.clients <= 1 + 2 * bounds.ACCEPTS_PER_TURN

    asyncio.run(attack())
