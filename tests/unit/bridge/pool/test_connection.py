"""Connections: whole frames with their descriptors whatever the pieces, bounded memory, nothing left open."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from support.fake_pool import open_descriptors

from cryobridge.bridge.pool.connection import Connection
from cryobridge.schemas.wire import Channel, Frame, encode


class Ends:
    """A connection on the loop, and the plain socket of the other side."""

    def __init__(self, **options: Any) -> None:
        ours, self.other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.frames: list[Frame] = []
        self.reasons: list[str] = []
        loop = asyncio.get_running_loop()
        self.connection = Connection(ours, loop, self.frames.append, self.reasons.append, **options)

    def close(self) -> None:
        self.connection.close()
        self.other.close()
        for frame in self.frames:
            frame.close()


def on_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test on a fresh loop, and see that it leaves no descriptor behind."""

    def run() -> None:
        async def checked() -> None:
            before = open_descriptors()
            await test()
            assert open_descriptors() == before

        asyncio.run(checked())

    run.__doc__ = test.__doc__
    return run


async def settle(turns: int = 20) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


@on_loop
async def test_a_frame_in_many_pieces_arrives_once_with_its_descriptors() -> None:
    ends = Ends()
    data = encode({"type": "x", "text": "y" * 1000}, 1)
    read, write = os.pipe()
    socket.send_fds(ends.other, [data[:1]], [write])
    os.close(write)
    for start in range(1, len(data), 300):
        ends.other.sendall(data[start : start + 300])
        await settle()
    (frame,) = ends.frames
    assert frame.message == {"type": "x", "text": "y" * 1000}
    os.write(frame.fds[0], b"here")
    assert os.read(read, 10) == b"here"
    os.close(read)
    ends.close()


@on_loop
async def test_sent_descriptors_are_closed_here_once_they_are_out() -> None:
    ends = Ends()
    before = open_descriptors()
    ends.connection.send({"type": "x"}, [os.open(os.devnull, os.O_RDONLY)])
    await settle()
    assert open_descriptors() == before
    received = Channel(ends.other).receive(1)
    assert len(received.fds) == 1
    received.close()
    ends.close()


@on_loop
async def test_large_frames_go_out_in_order_while_the_peer_reads_slowly() -> None:
    ends = Ends()
    for number in range(5):
        ends.connection.send({"type": "x", "number": number, "body": "z" * 300_000})
    assert ends.connection.unsent_bytes > 0
    channel = Channel(ends.other)
    numbers = []
    for _ in range(5):
        numbers.append((await asyncio.to_thread(channel.receive, 5)).message["number"])
    assert numbers == [0, 1, 2, 3, 4]
    assert ends.connection.unsent_bytes == 0
    ends.close()


@on_loop
async def test_a_peer_that_does_not_read_is_cut_off_and_its_waiting_descriptors_are_closed() -> None:
    ends = Ends(max_unsent_bytes=500_000)
    for _ in range(10):
        ends.connection.send({"type": "x", "body": "z" * 200_000}, [os.open(os.devnull, os.O_RDONLY)])
    await settle()
    assert ends.reasons == ["does not read what it is sent"]
    assert ends.connection.closed
    ends.close()


@on_loop
async def test_the_other_side_closing_is_reported_once() -> None:
    ends = Ends()
    ends.other.close()
    await settle()
    ends.connection.send({"type": "x"})
    await settle()
    assert len(ends.reasons) == 1
    ends.close()


@on_loop
async def test_our_own_close_is_not_reported() -> None:
    ends = Ends()
    ends.connection.close()
    ends.connection.send({"type": "x"}, [os.open(os.devnull, os.O_RDONLY)])
    await settle()
    assert ends.reasons == []
    ends.close()


@on_loop
async def test_last_words_are_sent_before_closing() -> None:
    ends = Ends()
    ends.connection.send({"type": "error", "body": "z" * 400_000})
    ends.connection.close_when_sent()
    assert not ends.connection.closed
    frame = await asyncio.to_thread(Channel(ends.other).receive, 5)
    assert frame.type == "error"
    await settle()
    assert ends.connection.closed
    ends.close()


@on_loop
async def test_nonsense_ends_the_connection_with_a_reason() -> None:
    ends = Ends()
    ends.other.sendall(b"\xff\xff\xff\xff rest")
    await settle()
    assert "limit" in ends.reasons[0]
    ends.close()


@on_loop
async def test_a_frame_that_is_too_large_to_send_is_the_senders_mistake_and_costs_nothing_else() -> None:
    ends = Ends()
    with pytest.raises(Exception, match="over the limit"):
        ends.connection.send({"type": "x", "body": "z" * 17_000_000}, [os.open(os.devnull, os.O_RDONLY)])
    ends.connection.send({"type": "y"})
    await settle()
    assert Channel(ends.other).receive(1).type == "y"
    ends.close()
