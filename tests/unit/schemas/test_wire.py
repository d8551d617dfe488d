"""Frames: whatever arrives in whatever pieces is the frames that were sent, or an error; descriptors never leak."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.schemas import wire

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
messages = st.dictionaries(st.text(max_size=8).filter(lambda key: key not in ("type", "fds")), json_values, max_size=4)


@pytest.fixture
def channels() -> Iterator[tuple[wire.Channel, wire.Channel]]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    pair = wire.Channel(left), wire.Channel(right)
    yield pair
    for channel in pair:
        channel.close()


def open_descriptors() -> int:
    gc.collect()  # what earlier tests left behind must not go between two counts
    return len(os.listdir("/proc/self/fd"))


@given(st.lists(messages, max_size=5), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_frames_survive_any_cutting_of_the_stream(bodies: list[wire.Message], cuts: list[int]) -> None:
    sent = [{**body, "type": "test"} for body in bodies]
    stream = b"".join(wire.encode(message) for message in sent)
    decoder = wire.Decoder()
    received: list[wire.Message] = []
    position = turn = 0
    while position < len(stream):
        size = cuts[turn % len(cuts)]
        received += [frame.message for frame in decoder.feed(stream[position : position + size])]
        position, turn = position + size, turn + 1
    assert received == sent


@given(st.binary(max_size=300))
def test_any_bytes_are_frames_or_an_error(data: bytes) -> None:
    decoder = wire.Decoder()
    with contextlib.suppress(wire.WireError):
        for frame in decoder.feed(data):
            assert isinstance(frame.type, str)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\xff\xff\xff\xff", "announces 4294967295 bytes"),
        (b"\x00\x00\x00\x02[]", "not an object"),
        (b"\x00\x00\x00\x02{}", "string 'type'"),
        (b'\x00\x00\x00\x0a{"type":1}', "string 'type'"),
        (b"\x00\x00\x00\x01{", "not JSON"),
        (wire.encode({"type": "x", "fds": -1}), "impossible number"),
        (wire.encode({"type": "x", "fds": "2"}), "impossible number"),
        (wire.encode({"type": "x", "fds": 65}), "impossible number"),
        (wire.encode({"type": "x"}, 1), "announces 1 descriptors, 0 came"),
    ],
)
def test_a_stream_of_another_protocol_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(wire.WireError, match=reason):
        wire.Decoder().feed(raw)


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    raw = b'{"type":"x","a":' + b"[" * 200_000
    with pytest.raises(wire.WireError):
        wire.Decoder().feed(len(raw).to_bytes(4, "big") + raw)


def test_descriptors_arrive_with_their_frame(channels: tuple[wire.Channel, wire.Channel], tmp_path: Path) -> None:
    left, right = channels
    before = open_descriptors()
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        fd = os.open(tmp_path / name, os.O_RDONLY)
        left.send({"type": name}, [fd])
        os.close(fd)
    for name in ("a", "b"):
        frame = right.receive(5)
        assert frame.type == name
        assert os.read(frame.fds[0], 10) == name.encode()
        assert not os.get_inheritable(frame.fds[0])
        frame.close()
    assert open_descriptors() == before


def test_descriptors_of_a_broken_stream_are_closed() -> None:
    before = open_descriptors()
    decoder = wire.Decoder()
    stream = wire.encode({"type": "good"}, 1) + b"\x00\x00\x00\x01{"
    (good,) = decoder.feed(stream, [os.open(os.devnull, os.O_RDONLY) for _ in range(3)])
    good.close()
    assert open_descriptors() == before
    for go_on in (decoder.check, lambda: decoder.feed(b""), lambda: decoder.feed(wire.encode({"type": "later"}))):
        with pytest.raises(wire.WireError, match="not JSON"):
            go_on()


def test_what_came_whole_before_the_stream_broke_is_received(channels: tuple[wire.Channel, wire.Channel]) -> None:
    left, right = channels
    left.sock.sendall(wire.encode({"type": "good"}) + b"\x00\x00\x00\x01{")
    assert right.receive(5).type == "good"
    for _ in range(2):
        with pytest.raises(wire.WireError, match="not JSON"):
            right.receive(5)


def test_descriptors_that_nobody_took_are_closed_with_the_channel(
    channels: tuple[wire.Channel, wire.Channel],
) -> None:
    left, right = channels
    before = open_descriptors()
    with open(os.devnull) as file:
        wire.send_with_fds(left.sock, wire.encode({"type": "x"}) + wire.encode({"type": "y"}, 1), [file.fileno()])
    assert right.receive(5).type == "x"
    assert open_descriptors() == before + 1
    right.close()
    assert open_descriptors() == before - 1


def test_a_large_frame_goes_through_a_small_socket_buffer(channels: tuple[wire.Channel, wire.Channel]) -> None:
    import threading

    left, right = channels
    text = "x" * 2_000_000
    sender = threading.Thread(target=left.send, args=({"type": "big", "text": text},))
    sender.start()
    assert right.receive(10).message["text"] == text
    sender.join()


def test_too_large_a_frame_is_not_sent(channels: tuple[wire.Channel, wire.Channel]) -> None:
    with pytest.raises(wire.WireError, match="over the limit"):
        channels[0].send({"type": "big", "text": "x" * (wire.MAX_FRAME_BYTES + 1)})


def test_silence_is_a_timeout_and_keeps_what_came(channels: tuple[wire.Channel, wire.Channel]) -> None:
    left, right = channels
    raw = wire.encode({"type": "slow"})
    left.sock.sendall(raw[:5])
    with pytest.raises(TimeoutError):
        right.receive(0.02)
    left.sock.sendall(raw[5:])
    assert right.receive(5).type == "slow"


def test_a_closed_connection_is_said(channels: tuple[wire.Channel, wire.Channel]) -> None:
    left, right = channels
    left.close()
    with pytest.raises(wire.ClosedError):
        right.receive(5)
    with pytest.raises(wire.ClosedError):
        right.send({"type": "x"})


def test_the_kernel_tells_who_is_there(channels: tuple[wire.Channel, wire.Channel]) -> None:
    assert wire.peer_uid(channels[0].sock) == (os.getpid(), os.getuid(), os.getgid())


def test_sockets_are_looked_for_in_order(tmp_path: Path) -> None:
    assert wire.candidate_sockets({"CRYOBRIDGE_SOCKET": "/x/y", "XDG_RUNTIME_DIR": str(tmp_path)}) == [Path("/x/y")]
    assert wire.candidate_sockets({"XDG_RUNTIME_DIR": str(tmp_path)}) == [
        tmp_path / "cryobridge" / "socket",
        Path("/run/cryobridge/socket"),
    ]
    assert (
        wire.user_socket_path({"XDG_RUNTIME_DIR": str(tmp_path / "absent")}).parent.name == f"cryobridge-{os.getuid()}"
    )


def test_the_folder_of_a_socket_is_private(tmp_path: Path) -> None:
    wire.private_folder(tmp_path / "a" / "b")
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    wire.private_folder(tmp_path / "a" / "b")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for name in ("open", "link"):
        with pytest.raises(PermissionError, match="CRYOBRIDGE_SOCKET"):
            wire.private_folder(tmp_path / name)


def test_frames_that_nobody_has_taken_are_held_as_bytes_and_descriptors() -> None:
    before = open_descriptors()
    decoder = wire.Decoder()
    stream = wire.encode({"type": "a"}, 2) + wire.encode({"type": "b"}, 1)
    decoder.put(stream[:-3], [os.open(os.devnull, os.O_RDONLY) for _ in range(3)])
    assert (decoder.partial_bytes, decoder.unclaimed_fds, decoder.holds_whole) == (len(stream) - 3, 3, True)
    first = decoder.take()
    assert first is not None
    assert (first.type, len(first.fds), decoder.unclaimed_fds, decoder.holds_whole) == ("a", 2, 1, False)
    assert decoder.take() is None
    decoder.put(stream[-3:])
    assert decoder.holds_whole
    first.close()
    decoder.close()
    assert (decoder.partial_bytes, decoder.unclaimed_fds) == (0, 0)
    assert open_descriptors() == before


def test_descriptors_that_came_without_the_beginning_of_a_frame_are_refused() -> None:
    before = open_descriptors()
    decoder = wire.Decoder()
    (frame,) = decoder.feed(wire.encode({"type": "a"}), [os.open(os.devnull, os.O_RDONLY)])
    assert frame.fds == []
    with pytest.raises(wire.WireError, match="1 descriptors came that no frame announces"):
        decoder.check()
    assert open_descriptors() == before


@pytest.mark.timeout(20)
def test_where_many_want_to_connect_one_waits_for_the_turn_and_not_for_ever(tmp_path: Path) -> None:
    import threading

    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, contextlib.ExitStack() as stack:
        listener.bind(str(path))
        listener.listen(0)
        stack.enter_context(wire.connect(path, 1.0))
        with pytest.raises(TimeoutError):
            wire.connect(path, 0.1)
        turn = threading.Timer(0.2, lambda: stack.enter_context(listener.accept()[0]))
        turn.start()
        channel = wire.Channel(stack.enter_context(wire.connect(path, 10.0)))
        turn.join()
        with pytest.raises(TimeoutError):
            channel.receive(0.05)
    with pytest.raises(ConnectionRefusedError):
        wire.connect(path, 1.0)
    with pytest.raises(FileNotFoundError):
        wire.connect(tmp_path / "absent", 1.0)
