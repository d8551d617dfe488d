"""What an iteration passes on to the worker, and which of its ends count as failures."""

from __future__ import annotations

from typing import Any

import pytest
from support.fake_pool import Clock, FakeHook, FakeLedger, FakePool, call_frame

from cryobridge.bridge.refinements.pairing import Sessions
from cryobridge.schemas.config import Deadlines


@pytest.fixture
def pool() -> FakePool:
    return FakePool()


@pytest.fixture
def sessions(pool: FakePool) -> Sessions:
    return Sessions(pool, FakeLedger(), Deadlines(), Clock(), find=lambda pid: None)


def call(sessions: Sessions, half: int, **more: Any) -> FakeHook:
    hook = FakeHook([half])
    sessions.call(hook, call_frame([half], **more))
    return hook


@pytest.mark.parametrize("code", ["disk_full", "of the future"])
def test_a_correction_that_was_wanted_and_not_had_counts_as_failed(
    sessions: Sessions, pool: FakePool, code: str
) -> None:
    hook = call(sessions, 1)
    pool.standard(pool.half(1), due=False, code=code, line="no room")
    assert hook.terminal() == [{"type": "answer", "half": 1, "code": code, "line": "no room"}]
    assert sessions.last_fallback is not None
    assert (sessions.last_fallback.code, sessions.last_fallback.line) == (code, "no room")
    (shown,) = sessions.snapshot()
    assert (shown["failed"], shown["standard"], shown["corrected"]) == (1, 1, 0)


def test_the_worker_gets_what_the_hook_has_read_of_its_settings(sessions: Sessions, pool: FakePool) -> None:
    chosen = {"strict": True, "keep_volumes": False, "deadline_s": 90.0, "correction": True}
    call(sessions, 1, hook_settings=chosen)
    call(sessions, 2)
    assert pool.half(1).frame.as_message()["hook_settings"] == chosen
    assert "hook_settings" not in pool.half(2).frame.as_message()


def texts(hook: FakeHook) -> list[str]:
    return [message["text"] for message in hook.sent if message["type"] == "progress"]


def test_what_concerns_both_halves_is_told_to_one(sessions: Sessions, pool: FakePool) -> None:
    hooks = [call(sessions, half) for half in (1, 2)]
    for half in (1, 2):
        pool._say(pool.half(half), "progress", text="ISONET_BETA=x is not understood; its default is used")
    pool._say(pool.half(2), "progress", text="of half 2 only")
    for half in (1, 2):
        pool.standard(pool.half(half))
    pool._say(pool.only("correct"), "progress", text="training 1/2", fraction=0.5)
    assert texts(hooks[0]) == ["ISONET_BETA=x is not understood; its default is used", "training 1/2"]
    assert texts(hooks[1]) == ["of half 2 only"]


def test_a_call_that_waits_for_a_worker_says_so_at_once_and_in_one_half(pool: FakePool) -> None:
    clock = Clock()
    pool.submit = lambda task: task.close_fds()  # type: ignore[method-assign] # no worker is ready
    sessions = Sessions(pool, FakeLedger(), Deadlines(), clock, find=lambda pid: None)
    hooks = [call(sessions, half) for half in (1, 2)]
    assert texts(hooks[0]) == ["waiting for a worker; one that starts loads torch first"]
    for _ in range(12):
        clock.now += 1
        sessions.tick(clock.now)
    assert texts(hooks[0])[1:] == ["still waiting for a worker (10 s)"]
    assert texts(hooks[1]) == []
