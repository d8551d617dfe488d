"""Nobody takes all of the daemon's places for calls, nor keeps one for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.fake_pool import Clock, FakeHook, FakeLedger, FakePool, call_frame

from cryobridge.bridge.refinements.pairing import MAX_CALLS_OF_A_LINK, MAX_REFINEMENTS_OF_A_USER, Sessions
from cryobridge.bridge.room import largest_share, share
from cryobridge.schemas.config import Deadlines

MOST = 16
GREEDY, MODEST = 501, 502


def sessions(pool: FakePool, clock: Clock, deadlines: Deadlines | None = None) -> Sessions:
    return Sessions(pool, FakeLedger(), deadlines or Deadlines(), clock, find=lambda pid: None)


def test_one_user_may_have_half_of_the_places_and_another_still_finds_some() -> None:
    pool = FakePool()
    all_of_them = sessions(pool, Clock())
    for number in range(MOST):
        if not all_of_them.is_busy_for(GREEDY, MOST):
            all_of_them.call(FakeHook([1], GREEDY), call_frame([1], number=number + 1))
    assert all_of_them.open_calls == MOST // 2
    said = all_of_them.is_busy_for(GREEDY, MOST)
    assert said == "8 calls of yours are under way, and 0 of others"
    assert all_of_them.is_busy_for(MODEST, MOST) == ""


def test_a_place_is_free_again_when_its_call_is_answered() -> None:
    pool = FakePool()
    all_of_them = sessions(pool, Clock())
    for number in range(MOST // 2):
        all_of_them.call(FakeHook([0], GREEDY), call_frame([0], number=number + 1))
    assert all_of_them.is_busy_for(GREEDY, MOST)
    pool.standard(next(iter(pool.tasks.values())), due=False)
    assert all_of_them.is_busy_for(GREEDY, MOST) == ""


def test_a_partner_is_not_waited_for_longer_than_a_correction_may_take() -> None:
    pool, clock = FakePool(), Clock()
    all_of_them = sessions(pool, clock, Deadlines(correct_s=100.0))
    hook = FakeHook([1], GREEDY)
    all_of_them.call(hook, call_frame([1]))
    pool.standard(pool.half(1), wait_partner_s=1e6)
    clock.now += 99
    all_of_them.tick(clock.now)
    assert hook.terminal() == []
    clock.now += 2
    all_of_them.tick(clock.now)
    assert hook.terminal()[0]["code"] == "partner_missing"


def test_one_connection_makes_a_few_calls_at_most() -> None:
    pool = FakePool()
    all_of_them = sessions(pool, Clock())
    hook = FakeHook([1], GREEDY)
    for number in range(MAX_CALLS_OF_A_LINK + 1):
        all_of_them.call(hook, call_frame([1], number=number + 1))
    assert hook.last("failed")["code"] == "rejected"
    assert len(pool.tasks) == MAX_CALLS_OF_A_LINK


def test_a_user_with_ever_new_refinements_keeps_a_bounded_number_and_others_keep_theirs() -> None:
    pool, clock = FakePool(), Clock()
    all_of_them = sessions(pool, clock)
    all_of_them.call(FakeHook([1], MODEST), call_frame([1], root="mine"))
    for number in range(MAX_REFINEMENTS_OF_A_USER + 3):
        clock.now += 1
        all_of_them.call(FakeHook([1], GREEDY), call_frame([1], root=f"run{number}"))
    kept = all_of_them.snapshot()
    assert sum(one["uid"] == GREEDY for one in kept) == MAX_REFINEMENTS_OF_A_USER
    assert sum(one["uid"] == MODEST for one in kept) == 1
    assert [name.rsplit("/", 1)[1] for name in pool.released] == ["run0", "run1", "run2"]


@given(st.integers(4, 2000), st.lists(st.integers(0, 9), max_size=60))
def test_whoever_has_few_places_finds_one_whatever_others_took_and_nobody_has_more_than_half(
    most: int, wishes: list[int]
) -> None:
    taken: dict[int, int] = {}
    for uid in wishes * 20:
        others = sum(count for other, count in taken.items() if other != uid)
        if taken.get(uid, 0) < share(most, others):
            taken[uid] = taken.get(uid, 0) + 1
    assert all(count <= largest_share(most) for count in taken.values())
    assert share(most, sum(taken.values())) >= 2, "one who comes anew finds room for both halves"
