"""Typed frames: what is sent is what is read, and whatever else comes is refused with one sentence."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryobridge.schemas import messages, news, requests, worker_messages
from cryobridge.schemas.codes import Code, ForeignCode
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.frames import Family, FrameInvalid, TypedFrame
from cryobridge.schemas.hook_settings import HookSettings
from cryobridge.schemas.iterations import IterationFigures
from cryobridge.schemas.messages import (
    FIRST_WORDS,
    FROM_HOOK,
    GREETING,
    TO_HOOK,
    Answer,
    CallFrame,
    CallProgress,
    IterationName,
    SettingsOfHook,
    Verified,
    WrittenFile,
)
from cryobridge.schemas.requests import FROM_COMMAND, TO_COMMAND, RequestReply
from cryobridge.schemas.worker_messages import FROM_WORKER, TO_WORKER

FAMILIES: dict[str, Family[Any]] = {
    "first words": FIRST_WORDS,
    "greeting": GREETING,
    "from hook": FROM_HOOK,
    "to hook": TO_HOOK,
    "from command": FROM_COMMAND,
    "to command": TO_COMMAND,
    "to worker": TO_WORKER,
    "from worker": FROM_WORKER,
}
FRAMES = [(family, frame) for family in FAMILIES.values() for frame in family.frames.values()]
CALL: dict[str, Any] = {
    "type": "call",
    "call_id": "c",
    "key": {"job_dir": "/project/job001", "root": "run", "iteration": 5, "kind": "class", "number": 1},
    "halves": [1],
    "environment": {"ISONET_ALPHA": "1"},
    "settings": None,
    "result_names": {"1": "a.mrc"},
    "fd_names": ["half1.star", "mask"],
}
"""As the hook of version 0.1 sends it."""

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
finite = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)
places = words.map("/{}".format)
seconds = st.floats(0, 1e6)
texts = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3)
tables = st.dictionaries(st.text(max_size=8).filter(lambda key: key not in ("type", "ok")), finite, max_size=3)
files = st.builds(WrittenFile, size=st.integers(0, 2**63 - 1), crc32=st.integers(0, 2**32 - 1))
codes = st.sampled_from(list(Code)) | words.filter(lambda word: word not in list(Code)).map(ForeignCode)
halves = st.integers(0, 2)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("ok", "due", "mine", "once", "gone"), st.booleans()),
    **dict.fromkeys(("half",), halves),
    **dict.fromkeys(("iteration",), st.integers(0, 999_999)),
    **dict.fromkeys(("number", "limit"), st.integers(1, 9999)),
    **dict.fromkeys(("size", "crc32", "pid", "rss_bytes"), st.integers(0, 2**31 - 1)),
    **dict.fromkeys(("protocol", "box"), st.integers(0, 65536)),
    **dict.fromkeys(("text", "line", "reason", "client", "version", "call_id", "call", "settings"), words),
    **dict.fromkeys(("device", "device_name", "style", "state", "daemon_id", "symmetry"), words),
    **dict.fromkeys(("task", "half1", "half2", "job_id", "ticket", "still_task"), words),
    **dict.fromkeys(("what", "table", "name"), words),
    **dict.fromkeys(("session", "job_dir", "mask"), places),
    **dict.fromkeys(
        ("seconds", "start_s", "wait_partner_s", "deadline_s", "still_s", "padding", "voxel_size_A", "at"), seconds
    ),
    **dict.fromkeys(("environment", "result_names", "used"), texts),
    **dict.fromkeys(("spec", "metrics", "result", "answer", "row"), tables),
    "tables": st.dictionaries(words, st.dictionaries(words, tables, max_size=2), max_size=3),
    "timeout_s": st.none() | st.floats(-1e6, 1e6),
    "fraction": st.none() | st.floats(0, 1),
    "root": words.filter(lambda word: "/" not in word),
    "kind": st.sampled_from(["class", "body"]),
    "halves": st.sampled_from([(0,), (1,), (2,), (1, 2)]),
    "fd_names": st.lists(st.from_regex(r"\A(half[012]\.)?[a-z0-9_]{1,12}\Z"), unique=True, max_size=4).map(tuple),
    "code": codes,
    "resolution_A": st.none() | seconds,
    "report": st.none() | files,
    "figures": st.none()
    | st.builds(
        IterationFigures,
        **dict.fromkeys(set(IterationFigures.rules) - {"halves_apart", "mode"}, st.none() | seconds),
        halves_apart=st.none() | st.booleans(),
        mode=st.sampled_from(["", "shared", "independent"]),
    ),
    "maps": st.dictionaries(st.sampled_from(["1", "2"]), files),
    "hook_settings": st.none()
    | st.builds(
        SettingsOfHook,
        strict=st.booleans(),
        keep_volumes=st.booleans(),
        deadline_s=st.none() | seconds,
        correction=st.booleans(),
    ),
}
VALUES["key"] = st.fixed_dictionaries({name: VALUES[name] for name in IterationName.rules}).map(
    lambda values: IterationName(**values)
)


def made(frame: type[TypedFrame]) -> st.SearchStrategy[TypedFrame]:
    """Frames of a class with all its fields."""
    values = {name: VALUES[name] for name in frame.rules}
    if "session" in values and frame.type == "corrected":
        values["session"] = st.none() | files
    return st.fixed_dictionaries(values).map(lambda fields: frame(**fields))


@pytest.mark.parametrize(("family", "frame"), FRAMES, ids=lambda one: getattr(one, "__name__", ""))
@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_frame_comes_back_as_it_was_sent(family: Family[Any], frame: type[TypedFrame], data: st.DataObject) -> None:
    sent = data.draw(made(frame))
    received = family.decode(json.loads(json.dumps(sent.as_message(), allow_nan=False)))
    assert received == sent
    assert type(received) is frame


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
@settings(deadline=None)
@given(data=st.data())
def test_any_object_is_a_frame_or_the_one_refusal(family: Family[Any], data: st.DataObject) -> None:
    kinds = st.sampled_from(sorted(family.frames)) | st.text(max_size=5)
    message = data.draw(st.dictionaries(st.sampled_from(sorted(VALUES)) | st.text(max_size=5), plain, max_size=6))
    message |= {"type": data.draw(kinds | plain)}
    try:
        frame = family.decode(message)
    except FrameInvalid:
        return
    # Compared as texts, because a NaN in a table is not even equal to itself.
    assert repr(family.decode(json.loads(json.dumps(frame.as_message())))) == repr(frame)


@pytest.mark.parametrize(("family", "frame"), FRAMES, ids=lambda one: getattr(one, "__name__", ""))
@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_damaged_frame_is_a_frame_or_the_one_refusal(
    family: Family[Any], frame: type[TypedFrame], data: st.DataObject
) -> None:
    message = data.draw(made(frame)).as_message()
    for key in data.draw(st.sets(st.sampled_from(sorted(message)), max_size=3)):
        message[key] = data.draw(plain)
    for key in data.draw(st.sets(st.sampled_from(sorted(message)), max_size=1)):
        del message[key]
    with contextlib.suppress(FrameInvalid):
        family.decode(message)


def test_each_direction_has_its_closed_set_of_words() -> None:
    assert {name: sorted(family.frames) for name, family in FAMILIES.items()} == {
        "first words": ["hello"],
        "greeting": ["error", "welcome"],
        "from hook": ["bye", "call", "verified"],
        "to hook": [
            *("answer", "commit", "corrected", "error", "failed", "heartbeat", "progress", "standard", "waiting"),
        ],
        "from command": [
            *("cancel", "config", "drain", "follow", "jobs", "logs", "metrics", "prepare", "ps", "release", "resume"),
            *("status", "stop", "submit", "wait"),
        ],
        "to command": ["error", "event", "heartbeat", "progress", "reply", "snapshot"],
        "to worker": [
            *("cancel", "come_back", "correct", "forget", "half", "job", "leave_device", "prepare", "release", "stop"),
            "urgent_job",
        ],
        "from worker": [
            *("corrected", "device_left", "done", "failed", "forgotten", "heartbeat", "prepared", "progress", "ready"),
            *("released", "standard"),
        ],
    }


def test_no_class_serves_two_directions() -> None:
    hither = [FIRST_WORDS, FROM_HOOK, FROM_COMMAND, FROM_WORKER]
    thither = [GREETING, TO_HOOK, TO_COMMAND, TO_WORKER]
    sent, received = ({frame for family in side for frame in family.frames.values()} for side in (hither, thither))
    assert not sent & received
    to_worker, to_others = set(TO_WORKER.frames.values()), {*TO_HOOK.frames.values(), *TO_COMMAND.frames.values()}
    assert not to_worker & to_others


def test_every_frame_class_belongs_to_a_family() -> None:
    defined = {
        one
        for module in (messages, news, requests, worker_messages)
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, TypedFrame) and hasattr(one, "type")
    }
    assert defined == {frame for _, frame in FRAMES}


def test_a_call_of_an_older_hook_is_understood_and_ours_only_adds_to_it() -> None:
    call = FROM_HOOK.decode(CALL)
    assert isinstance(call, CallFrame)
    assert call.hook_settings is None
    assert call.as_message() == CALL
    values = {**{name: getattr(call, name) for name in call.rules}, "hook_settings": SettingsOfHook.of(HookSettings())}
    ours = CallFrame(**values).as_message()
    assert {key: ours[key] for key in CALL} == CALL
    assert ours.keys() - CALL.keys() == {"hook_settings"}
    assert SettingsOfHook.of(HookSettings(strict=True, deadline_s=9.0)).as_settings() == HookSettings(True, False, 9.0)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"key": None}, "call: 'key' is missing"),
        ({"halves": [3]}, "call: 'halves' must be [0], [1], [2] or [1, 2]"),
        ({"halves": [True]}, "call: 'halves' must be [0], [1], [2] or [1, 2]"),
        ({"fd_names": ["../x"]}, "call: 'fd_names' must be a list of names"),
        ({"fd_names": ["mask\n"]}, "call: 'fd_names' must be a list of names"),
        ({"fd_names": ["mask", "mask"]}, "call: 'fd_names' must name each descriptor once"),
        ({"environment": {"A": 1}}, "call: 'environment' must hold texts"),
        ({"environment": {str(n): "" for n in range(513)}}, "call: 'environment' must hold texts"),
        ({"settings": 5}, "call: 'settings' must be a text of bounded length"),
        ({"settings": "x" * (256 * 1024 + 1)}, "call: 'settings' must be a text of bounded length"),
        ({"key": {**CALL["key"], "job_dir": "rel"}}, "call: 'job_dir' must be absolute and 'root' a file stem"),
        ({"key": {**CALL["key"], "root": "x/y"}}, "call: 'job_dir' must be absolute and 'root' a file stem"),
        ({"key": {**CALL["key"], "root": "r" * 256}}, "call: 'root' must be a text of 1 to 255 characters"),
        ({"key": {**CALL["key"], "root": "a\0b"}}, "call: 'root' must be a text of 1 to 255 characters"),
        ({"key": {**CALL["key"], "iteration": True}}, "call: 'iteration' must be a number from 0 on"),
        ({"key": {**CALL["key"], "number": 0}}, "call: 'number' must be a number from 1 on"),
        ({"key": {**CALL["key"], "number": 10**6}}, "call: 'number' must be a number from 1 on"),
        ({"key": {**CALL["key"], "kind": "tomo"}}, "call: 'kind' must be class or body"),
        ({"hook_settings": {"strict": 1}}, "call: 'strict' must be true or false"),
        ({"hook_settings": []}, "call: 'hook_settings' must be an object"),
    ],
)
def test_a_malformed_call_is_told_which_field_is_wrong(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputInvalid) as caught:
        FROM_HOOK.decode({**CALL, **wrong})
    assert str(caught.value) == sentence
    assert caught.value.code == Code.INPUT_INVALID


def test_names_and_descriptors_must_be_as_many() -> None:
    call = FROM_HOOK.decode(CALL)
    assert isinstance(call, CallFrame)
    assert call.half_fds(1, [7, 8]) == (["half1.star", "mask"], [7, 8])
    assert call.half_fds(2, [7, 8]) == (["mask"], [8])
    with pytest.raises(InputInvalid, match="call: 2 names for 1 descriptors"):
        call.half_fds(1, [7])


@pytest.mark.parametrize(
    ("family", "sentence"),
    [
        (FROM_HOOK, "a hook does not send 'made up'"),
        (FROM_COMMAND, "there is no request 'made up'"),
        (FIRST_WORDS, "the first frame must be hello"),
    ],
)
def test_a_type_outside_of_the_family_is_rejected(family: Family[Any], sentence: str) -> None:
    with pytest.raises(FrameInvalid) as caught:
        family.decode({"type": "made up"})
    assert (str(caught.value), caught.value.code) == (sentence, Code.REJECTED)
    assert not family.knows({"type": "made up"})


def test_keys_of_a_newer_peer_are_passed_over() -> None:
    frame = FROM_HOOK.decode({"type": "verified", "half": 2, "ticket": "t", "colour": "blue"})
    assert frame == Verified(half=2, ticket="t")


def test_a_long_explanation_is_cut_and_odd_progress_is_not_known() -> None:
    answer = TO_HOOK.decode({"type": "answer", "half": 1, "code": "oom", "line": "x" * 10**5})
    assert isinstance(answer, Answer)
    assert len(answer.line) == 4000
    for odd in ("half", True, [1], float("nan"), 10**400):
        assert TO_HOOK.decode({"type": "progress", "fraction": odd}) == CallProgress(text="", fraction=None)


def test_a_reply_keeps_its_fields_beside_its_type() -> None:
    reply = RequestReply(answer={"state": "ready", "jobs": []})
    assert reply.as_message() == {"type": "reply", "ok": True, "state": "ready", "jobs": []}
    assert TO_COMMAND.decode({"type": "reply", "state": "ready", "jobs": []}) == reply


def test_a_frame_cannot_be_changed_or_made_in_part() -> None:
    frame = Verified(half=1, ticket="t")
    with pytest.raises(AttributeError):
        frame.half = 2  # type: ignore[misc]
    with pytest.raises(TypeError, match="needs 'ticket'"):
        Verified(half=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="has no"):
        Verified(half=1, ticket="t", colour="blue")  # type: ignore[call-arg]
    assert repr(frame) == "Verified(half=1, ticket='t')"
    assert frame != Verified(half=2, ticket="t")


def test_a_task_ends_with_its_result_or_its_failure() -> None:
    ending = {word for word, frame in FROM_WORKER.frames.items() if getattr(frame, "ends_task", False)}
    assert ending == {"failed", "done", "corrected"}


def test_calls_go_before_corrections_and_those_before_jobs() -> None:
    urgency = {word: frame.urgency for word, frame in TO_WORKER.frames.items()}
    assert urgency == {
        "stop": 0,
        "cancel": 0,
        "forget": 0,
        "come_back": 0,
        "half": 1,
        "prepare": 1,
        "release": 1,
        "leave_device": 1,
        "correct": 2,
        "urgent_job": 3,
        "job": 4,
    }
