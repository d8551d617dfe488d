"""The server's door: what one user's clients hold is bounded, and each has its turn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import time
from pathlib import Path

import pytest
from support.door import door, is_open, request, settle
from support.fake_pool import open_descriptors

from cryobridge.bridge.daemon import server as server_module
from cryobridge.bridge.daemon.server import Client
from cryobridge.bridge.pool import connection as connection_module
from cryobridge.schemas import bounds
from cryobridge.schemas.messages import Answer, Heartbeat, Refused
from cryobridge.schemas.wire import encode, send_with_fds


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


def test_requests_that_take_long_to_answer_leave_turns_for_others_sooner(tmp_path: Path) -> None:
    async def attack() -> None:
        async with door(tmp_path) as one:
            many, single = await one.connect(), await one.connect()
            one.answers.answer = lambda client: time.sleep(0.02)
            many.send(request("many") * 30)
            single.send(request("single"))
            for _ in range(20):
                await asyncio.sleep(0)
            assert one.answers.asked.index("single") <= 2

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


def test_what_waits_behind_untaken_answers_counts_among_what_a_user_holds(tmp_path: Path) -> None:
    async def attack() -> None:
        async with door(tmp_path) as one:
            one.answers.answer = lambda client: client.connection.send({"type": "x", "text": "y" * 1_500_000})
            null = os.open(os.devnull, os.O_RDONLY)
            before = open_descriptors()
            for _ in range(10):
                sock = await one.connect()
                sock.send(request("deaf"))
                await settle()
                for _ in range(3):
                    with contextlib.suppress(OSError):
                        send_with_fds(sock, encode({"type": "status", "who": "deaf"}, 60), [null] * 60)
                    await settle()
            held = open_descriptors() - before - 10 - one.server.clients
            assert 0 < held <= bounds.MAX_UNCLAIMED_FDS_PER_USER
            assert is_open(await one.connect("relion-hook"))
            os.close(null)

    asyncio.run(attack())


def test_messages_that_wait_are_not_unfolded_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_PARTIAL_BYTES_PER_USER", 1_000_000)

    async def attack() -> None:
        async with door(tmp_path) as one:
            one.answers.answer = lambda client: client.connection.send({"type": "x", "text": "y" * 1_500_000})
            for _ in range(10):
                sock = await one.connect()
                data = request("deaf") * 20_000
                with contextlib.suppress(OSError):
                    for _ in range(20):
                        data = data[sock.send(data) :]
                        await settle(3)
            held = sum(client.connection.partial_bytes for client in one.server._clients)
            assert 0 < held <= 1_000_000 + 10 * bounds.SMALL_PARTIAL_BYTES

    asyncio.run(attack())


def test_descriptors_without_a_message_of_their_own_end_their_connection(tmp_path: Path) -> None:
    async def attack() -> None:
        async with door(tmp_path) as one:
            null = os.open(os.devnull, os.O_RDONLY)
            sock = await one.connect()
            send_with_fds(sock, request("x"), [null] * 3)
            os.close(null)
            await settle()
            assert one.answers.asked == ["x"]
            assert not is_open(sock)

    asyncio.run(attack())


def test_a_client_that_takes_no_answer_for_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "UNTAKEN_LIMIT_S", 0.2)

    async def attack() -> None:
        async with door(tmp_path) as one:
            one.answers.answer = lambda client: client.connection.send({"type": "x", "text": "y" * 700_000})
            deaf, slow = await one.connect(), await one.connect()
            deaf.send(request("deaf") * 5)
            slow.send(request("slow") * 8)
            for _ in range(8):
                await asyncio.sleep(0.1)
                taken = 0
                while taken < 700_000:
                    taken += len(await asyncio.get_running_loop().sock_recv(slow, 700_000 - taken))
            assert one.server.clients == 1
            assert one.answers.asked.count("slow") == 8

    asyncio.run(attack())


def test_a_stopped_program_that_is_only_told_that_we_live_keeps_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "UNTAKEN_LIMIT_S", 0.1)

    async def attack() -> None:
        async with door(tmp_path) as one:
            stopped = await one.connect("relion-hook")
            (client,) = one.server._clients
            for _ in range(20):
                for _ in range(1000):
                    client.send(Heartbeat())
                await asyncio.sleep(0.01)
            client.send(Answer(half=1, code="ok", line="here"))
            assert 0 < client.connection.unsent_bytes <= bounds.SMALL_UNTAKEN_BYTES
            await asyncio.sleep(0.2)
            said = b""
            while b"here" not in said:
                said = said[-100:] + await asyncio.get_running_loop().sock_recv(stopped, 1 << 16)

    asyncio.run(attack())


def test_answers_that_one_user_does_not_take_are_bounded_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_UNTAKEN_BYTES_PER_USER", 3_500_000)

    async def attack() -> None:
        async with door(tmp_path) as one:
            one.answers.answer = lambda client: client.send(Refused(text="y" * 1_500_000))
            for _ in range(6):
                (await one.connect()).send(request("deaf"))
                await settle()
            assert one.server.clients == 2
            assert is_open(await one.connect("relion-hook"))

    asyncio.run(attack())


def test_time_in_which_a_client_was_not_heard_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CLIENT_FRAME_LIMIT_S", 0.3)

    async def attack() -> None:
        async with door(tmp_path) as one:
            one.answers.answer = lambda client: client.connection.send({"type": "x", "text": "y" * 800_000})
            sock = await one.connect()
            last = request("last")
            sock.send(request("x") * 4 + last[:10])
            await asyncio.sleep(0.6)
            assert len(one.answers.asked) < 4
            while len(one.answers.asked) < 4:
                assert is_open(sock)
                await settle(3)
            sock.send(last[10:])
            while "last" not in one.answers.asked:
                assert is_open(sock)
                await settle(3)

    asyncio.run(attack())


def test_time_in_which_the_daemon_stood_still_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CLIENT_FRAME_LIMIT_S", 0.4)

    async def attack() -> None:
        async with door(tmp_path) as one:
            sock = await one.connect()
            whole = request("x" * 1000)
            for start in (0, 300, 600):
                sock.send(whole[start : start + 300])
                await settle()
                time.sleep(0.5)  # the whole loop stands still
            await asyncio.sleep(0.05)
            sock.send(whole[900:])
            await settle()
            assert one.answers.asked == ["x" * 1000]

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
