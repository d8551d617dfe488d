"""Bytes from the socket: typed frames or a refusal, in bounded memory, and no descriptor is ever lost."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.schemas import wire
from cryobridge.schemas.frames import Family, FrameInvalid, TypedFrame
from cryobridge.schemas.messages import FIRST_WORDS, FROM_HOOK, GREETING, TO_HOOK
from cryobridge.schemas.requests import FROM_COMMAND, TO_COMMAND
from cryobridge.schemas.worker_messages import FROM_WORKER, TO_WORKER

FAMILIES = (FIRST_WORDS, GREETING, FROM_HOOK, TO_HOOK, FROM_COMMAND, TO_COMMAND, TO_WORKER, FROM_WORKER)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
messages = st.dictionaries(
    st.text(max_size=6).filter(lambda key: key not in ("type", "fds")), plain, max_size=4
).flatmap(lambda body: st.text(max_size=8).map(lambda kind: {**body, "type": kind}))


def pieces(raw: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(raw) + 1) for cut in cuts}), len(raw)]
    return [raw[a:b] for a, b in itertools.pairwise(edges)]


def test_good_stream() -> None:
    frames = wire.Decoder().feed(wire.encode({"type": "a", "n": 1}) + wire.encode({"type": "b"}))
    assert [frame.message for frame in frames] == [{"type": "a", "n": 1}, {"type": "b"}]


@given(st.lists(messages, max_size=4), st.lists(st.integers(0, 10**6), max_size=8))
def test_frames_arrive_whole_however_the_stream_is_cut(sent: list[dict[str, object]], cuts: list[int]) -> None:
    decoder = wire.Decoder()
    raw = b"".join(wire.encode(message) for message in sent)
    found = [frame.message for piece in pieces(raw, cuts) for frame in decoder.feed(piece)]
    assert found == sent


@given(
    st.lists(messages, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=5),
    st.lists(st.integers(0, 10**6), max_size=4),
    st.integers(0, 3),
)
def test_damaged_stream_gives_frames_or_a_wire_error_and_keeps_no_descriptor(
    sent: list[dict[str, object]], damage: list[tuple[int, int]], cuts: list[int], n_fds: int
) -> None:
    raw = bytearray(b"".join(wire.encode(message, n_fds) for message in sent))
    for index, value in damage:
        raw[index % len(raw)] = value
    decoder = wire.Decoder()
    descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(n_fds * len(sent))]
    frames = []
    handed_over = list(descriptors)
    try:
        for piece in pieces(bytes(raw), cuts):
            given_now, handed_over = handed_over, []
            frames += decoder.feed(piece, given_now)
    except wire.WireError:
        pass
    for frame in frames:
        assert isinstance(frame.type, str)
        frame.close()
    decoder.close()
    assert not [fd for fd in descriptors if os.path.exists(f"/proc/self/fd/{fd}")]


@settings(deadline=None)
@given(
    st.sampled_from(FAMILIES),
    st.data(),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4),
)
def test_damaged_frames_of_every_family_are_frames_or_one_of_two_refusals(
    family: Family[TypedFrame], data: st.DataObject, damage: list[tuple[int, int]]
) -> None:
    kind = data.draw(st.sampled_from(sorted(family.frames)))
    names = st.sampled_from(sorted(family.frames[kind].rules) or ["x"])
    raw = bytearray(wire.encode({**data.draw(st.dictionaries(names, plain, max_size=8)), "type": kind}))
    for index, value in damage:
        raw[index % len(raw)] = value
    with contextlib.suppress(wire.WireError, FrameInvalid):
        for frame in wire.Decoder().feed(bytes(raw)):
            family.decode(frame.message)


@given(st.binary(max_size=300))
def test_any_bytes_are_frames_or_a_wire_error(raw: bytes) -> None:
    decoder = wire.Decoder()
    try:
        for frame in decoder.feed(raw):
            assert isinstance(frame.message, dict)
    except wire.WireError:
        return


@given(st.integers(wire.MAX_FRAME_BYTES + 1, 2**32 - 1))
def test_announced_gigabytes_are_refused_at_once(length: int) -> None:
    try:
        wire.Decoder().feed(struct.pack(">I", length))
    except wire.WireError:
        return
    raise AssertionError(f"a frame of {length} bytes was waited for")


@given(st.integers(0, 10**4))
def test_deep_nesting_is_a_wire_error_or_a_frame(depth: int) -> None:
    body = b'{"type":"x","a":' + b"[" * depth + b"]" * depth + b"}"
    try:
        (frame,) = wire.Decoder().feed(struct.pack(">I", len(body)) + body)
    except wire.WireError:
        return
    assert frame.type == "x"


@given(
    st.one_of(
        st.integers(), st.text(max_size=3), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()
    )
)
def test_senseless_count_of_descriptors_is_a_wire_error(count: object) -> None:
    body = json.dumps({"type": "x", "fds": count}).encode()
    try:
        (frame,) = wire.Decoder().feed(struct.pack(">I", len(body)) + body)
    except wire.WireError:
        return
    assert frame.fds == []
