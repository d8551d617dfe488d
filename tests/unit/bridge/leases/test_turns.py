"""Whose turn it is: calls first, interactive before batch, fair between users, and nobody waits for ever."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryobridge.bridge.leases.turns import DeviceView, Do, LeaseState, LeaseView, Rules, TurnOfLease, turns
from cryobridge.bridge.pool.scheduler import Priority

CPU = DeviceView("cpu")
RULES = Rules(turn_s=100.0, most_aside=2)
WAITING, ACTIVE, LEAVING, ASIDE = LeaseState.WAITING, LeaseState.ACTIVE, LeaseState.LEAVING, LeaseState.ASIDE


def lease(name: str, uid: int = 1, priority: Priority = Priority.BATCH, **more) -> LeaseView:
    more = {"order": int(name[1:] or 0), **more}
    if more.get("state", WAITING) is not WAITING:
        more = {"device": "cpu", **more}
    return LeaseView(name, uid, priority, **more)


def decide(*leases: LeaseView, devices=(CPU,), used=None, rules: Rules = RULES) -> list[TurnOfLease]:
    return turns(devices, leases, used or {}, rules)


def test_a_free_device_goes_to_who_asked_first() -> None:
    assert decide(lease("a1"), lease("a0")) == [TurnOfLease("a0", Do.GRANT, "cpu")]


def test_while_there_are_calls_everybody_leaves_and_nobody_begins() -> None:
    busy = replace(CPU, calls=True)
    assert decide(lease("a0", state=ACTIVE), lease("a1"), devices=[busy]) == [TurnOfLease("a0", Do.LEAVE, "cpu")]
    assert decide(lease("a0", state=LEAVING), lease("a1"), devices=[busy]) == []
    assert decide(lease("a0", state=ASIDE), lease("a1"), devices=[busy]) == []


@pytest.mark.parametrize("device", [replace(CPU, taken=True), replace(CPU, ready=False)])
def test_nothing_begins_beside_the_daemons_own_job_or_where_no_worker_lives(device: DeviceView) -> None:
    assert decide(lease("a0"), devices=[device]) == []


def test_nothing_begins_before_who_was_told_to_leave_has_left() -> None:
    assert decide(lease("a0", state=LEAVING), lease("b1", uid=2, priority=Priority.INTERACTIVE)) == []


def test_one_that_stood_aside_goes_on_before_a_new_one_of_its_user_begins() -> None:
    assert decide(lease("a5", state=ASIDE), lease("a0")) == [TurnOfLease("a5", Do.GO_ON, "cpu")]


def test_one_that_stood_aside_goes_on_nowhere_else() -> None:
    other = DeviceView("cuda:GPU-1")
    assert decide(lease("a0", state=ASIDE), devices=[other]) == []


def test_an_interactive_job_makes_a_batch_job_leave_and_waits_for_an_interactive_one() -> None:
    quick = lease("b1", uid=2, priority=Priority.INTERACTIVE)
    assert decide(lease("a0", state=ACTIVE), quick) == [TurnOfLease("a0", Do.LEAVE, "cpu")]
    assert decide(lease("a0", state=ACTIVE, priority=Priority.INTERACTIVE), quick) == []


def test_no_more_jobs_than_the_operator_allows_are_kept_in_the_hosts_memory() -> None:
    quick = lease("b9", uid=2, priority=Priority.INTERACTIVE)
    aside = [lease(f"c{number}", uid=3, state=ASIDE) for number in range(2)]
    assert decide(lease("a0", state=ACTIVE), quick, *aside) == []


def test_a_batch_job_gives_way_to_a_user_who_had_less_when_its_turn_is_over_and_never_before() -> None:
    long = lease("a0", state=ACTIVE, turn_s=99.0)
    assert decide(long, lease("b1", uid=2), used={1: 99.0}) == []
    over = replace(long, turn_s=100.0)
    assert decide(over, lease("b1", uid=2), used={1: 100.0}) == [TurnOfLease("a0", Do.LEAVE, "cpu")]
    assert decide(over, lease("a1"), used={1: 100.0}) == [], "never for one's own"
    assert decide(over, lease("b1", uid=2), used={1: 100.0, 2: 500.0}) == [], "never for one who had more"
    assert decide(over, lease("b1", uid=2), used={1: 100.0}, rules=Rules(turn_s=0.0)) == []


def test_of_users_the_one_goes_first_who_has_no_device_then_the_one_who_used_least() -> None:
    two = [DeviceView("d1"), DeviceView("d2")]
    asked = [lease("a0", uid=1), lease("a1", uid=1), lease("b2", uid=2)]
    assert [turn.lease for turn in decide(*asked, devices=two)] == ["a0", "b2"]
    assert [turn.lease for turn in decide(*asked, devices=two, used={1: 50.0})] == ["b2", "a0"]


def test_what_does_not_fit_waits_for_a_device_where_it_does_and_takes_the_largest_if_it_fits_nowhere() -> None:
    small, large = DeviceView("small", budget_bytes=10), DeviceView("large", budget_bytes=20)
    assert decide(lease("a0", wants_bytes=15), devices=[small, large]) == [TurnOfLease("a0", Do.GRANT, "large")]
    assert decide(lease("a0", wants_bytes=15), devices=[small, replace(large, taken=True)]) == []
    assert decide(lease("a0", wants_bytes=99), devices=[small, large]) == [TurnOfLease("a0", Do.GRANT, "large")]
    only_small = lease("a0", wants_bytes=15, devices=frozenset({"small"}))
    assert decide(only_small, devices=[small, large]) == [TurnOfLease("a0", Do.GRANT, "small")]


def test_a_batch_job_that_waited_very_long_is_not_passed_by_interactive_ones() -> None:
    old = lease("a0", overdue=True)
    quick = lease("b1", uid=2, priority=Priority.INTERACTIVE)
    assert decide(old, quick, used={1: 0.0, 2: 10.0}) == [TurnOfLease("a0", Do.GRANT, "cpu")]
    begun = replace(old, state=ACTIVE, device="cpu")
    assert decide(begun, quick) == [], "and keeps its device"


DEVICES = st.lists(
    st.builds(
        DeviceView,
        name=st.sampled_from(["cpu", "g1", "g2"]),
        calls=st.booleans(),
        taken=st.booleans(),
        ready=st.booleans(),
        budget_bytes=st.sampled_from([None, 10, 20]),
    ),
    max_size=3,
    unique_by=lambda one: one.name,
)


@st.composite
def snapshots(draw):
    devices = draw(DEVICES)
    names = [one.name for one in devices] or ["gone"]
    leases, on_device = [], set()
    for number in range(draw(st.integers(0, 8))):
        state = draw(st.sampled_from(LeaseState))
        device = None if state is WAITING else draw(st.sampled_from(names))
        if state in (ACTIVE, LEAVING):
            if device in on_device:
                continue
            on_device.add(device)
        leases.append(
            LeaseView(
                str(number),
                draw(st.integers(1, 3)),
                draw(st.sampled_from([Priority.INTERACTIVE, Priority.BATCH])),
                number,
                state,
                device,
                draw(st.sampled_from([None, frozenset(names[:1])])),
                draw(st.sampled_from([None, 5, 15, 30])),
                draw(st.sampled_from([0.0, 200.0])),
                draw(st.booleans()),
            )
        )
    return devices, leases, {uid: draw(st.floats(0, 100)) for uid in (1, 2, 3)}


@given(snapshots())
def test_whatever_is_decided_a_device_has_one_job_and_calls_have_theirs_alone(snapshot) -> None:
    devices, leases, used = snapshot
    decided = turns(devices, leases, used, RULES)
    known = {one.id: one for one in leases}
    assert len({turn.lease for turn in decided}) == len(decided)
    assert len({turn.device for turn in decided}) == len(decided)
    by_name = {one.name: one for one in devices}
    for turn in decided:
        one, device = known[turn.lease], by_name[turn.device]
        here = [other for other in leases if other.device == device.name and other.state in (ACTIVE, LEAVING)]
        if turn.do is Do.LEAVE:
            assert here == [one]
            assert one.state is ACTIVE
        else:
            assert here == []
            assert not device.calls
            assert not device.taken
            assert device.ready
            assert (one.state is ASIDE) == (turn.do is Do.GO_ON)
            assert one.devices is None or turn.do is Do.GO_ON or device.name in one.devices


@given(snapshots())
def test_a_free_device_is_left_to_nobody_only_if_nobody_may_have_it(snapshot) -> None:
    devices, leases, used = snapshot
    decided = turns(devices, leases, used, RULES)
    for device in devices:
        here = [one for one in leases if one.device == device.name and one.state in (ACTIVE, LEAVING)]
        if here or device.calls or device.taken or not device.ready:
            continue
        if not any(turn.device == device.name for turn in decided):
            assert not any(one.state is ASIDE and one.device == device.name for one in leases)


@pytest.mark.parametrize("seed", range(3))
def test_in_a_long_history_everybody_is_served_and_users_get_the_same(seed: int) -> None:
    """Three users with work for ever, one of them with thirty jobs at once, on two devices; a second is a step."""
    drawn = random.Random(seed)
    now = 0
    live: dict[str, LeaseView] = {}
    left: dict[str, int] = {}
    since: dict[str, int] = {}
    used: Counter[int] = Counter()
    served: Counter[int] = Counter()
    longest_wait = 0
    number = 0
    devices = [DeviceView("d1"), DeviceView("d2")]
    for now in range(3000):
        for uid, many in ((1, 30), (2, 2), (3, 1)):
            while sum(one.uid == uid for one in live.values()) < many:
                live[f"j{number}"] = LeaseView(f"j{number}", uid, Priority.BATCH, number)
                left[f"j{number}"], since[f"j{number}"] = drawn.choice([5, 50, 900]), now
                number += 1
        shown = [replace(one, turn_s=now - since[one.id] if one.state is ACTIVE else 0.0) for one in live.values()]
        for turn in turns(devices, shown, used, RULES):
            one = live[turn.lease]
            if one.uid == 3 and turn.do is Do.GRANT:
                longest_wait = max(longest_wait, now - since[one.id])
            state = LEAVING if turn.do is Do.LEAVE else ACTIVE
            live[one.id] = replace(one, state=state, device=turn.device)
            since[one.id] = now
        for one in list(live.values()):
            if one.state is LEAVING:
                live[one.id], since[one.id] = replace(one, state=ASIDE), now
            elif one.state is ACTIVE:
                used[one.uid] += 1
                left[one.id] -= 1
                if left[one.id] == 0:
                    served[one.uid] += 1
                    del live[one.id]
    assert min(served.values()) > 1
    assert max(used.values()) < 1.25 * min(used.values()), used
    assert longest_wait <= 2 * RULES.turn_s
