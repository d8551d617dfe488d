"""Pairing: the halves of an iteration find each other, and whatever happens both are told the same."""

from __future__ import annotations

import os

import psutil
import pytest
from support.fake_pool import Clock, FakeHook, FakeLedger, FakePool, call_frame, open_descriptors

from cryobridge.bridge.refinements.pairing import MEMO_S, RELEASE_AFTER_S, Sessions
from cryobridge.bridge.refinements.program import Refiner
from cryobridge.schemas.codes import Code
from cryobridge.schemas.config import Deadlines
from cryobridge.schemas.messages import Bye, Verified


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.pool = FakePool()
        self.ledger = FakeLedger()
        self.refiner: Refiner | None = None
        self.sessions = Sessions(
            self.pool, self.ledger, Deadlines(), self.clock, keep_alive_s=600, find=lambda pid: self.refiner
        )

    def call(self, *halves: int, uid: int | None = None, **key) -> FakeHook:
        hook = FakeHook(list(halves), uid)
        self.sessions.call(hook, call_frame(list(halves), **key))
        return hook

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.sessions.tick(self.clock.now)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def to_correction(bench: Bench) -> tuple[FakeHook, FakeHook]:
    first, second = bench.call(1), bench.call(2)
    bench.pool.standard(bench.pool.half(1))
    bench.pool.standard(bench.pool.half(2))
    return first, second


def to_verification(bench: Bench) -> tuple[FakeHook, FakeHook]:
    hooks = to_correction(bench)
    bench.pool.corrected(bench.pool.only("correct"))
    return hooks


def verify(bench: Bench, hook: FakeHook, half: int) -> None:
    bench.sessions.verified(hook, Verified(half=half, ticket=hook.last("corrected")["ticket"]))


def test_two_halves_are_corrected_together_and_released_in_the_same_moment(bench: Bench) -> None:
    first, second = to_correction(bench)
    joint = bench.pool.only("correct")
    assert first.types() == second.types() == ["standard"]
    assert first.last("standard")["call"] == second.last("standard")["call"] == joint.id[:8]
    bench.pool.corrected(joint, session={"size": 5, "crc32": 6})
    assert first.last("corrected")["crc32"] == 11
    assert second.last("corrected")["crc32"] == 12
    assert first.last("corrected")["ticket"] == second.last("corrected")["ticket"]
    assert first.last("corrected")["session"] == {"size": 5, "crc32": 6}
    verify(bench, first, 1)
    assert first.terminal() == second.terminal() == []
    verify(bench, second, 2)
    assert first.terminal()[0]["type"] == second.terminal()[0]["type"] == "commit"
    assert bench.ledger.ended == [(bench.ledger.begun[0], "corrected")]
    assert bench.pool.kept == {}


def test_a_half_learns_that_it_waits_only_if_the_other_has_not_called(bench: Bench) -> None:
    first = bench.call(1)
    bench.pool.standard(bench.pool.half(1))
    assert first.types() == ["standard", "waiting"]
    second = bench.call(2)
    bench.pool.standard(bench.pool.half(2))
    assert "waiting" not in second.types()


def test_half_that_is_not_due_is_answered_without_the_other(bench: Bench) -> None:
    first = bench.call(1)
    bench.pool.standard(bench.pool.half(1), due=False)
    assert first.terminal() == [{"type": "answer", "half": 1, "code": "not_due", "line": "too early"}]
    second = bench.call(2)
    bench.pool.standard(bench.pool.half(2), due=False)
    assert second.terminal()[0]["code"] == "not_due"


def test_one_half_that_is_not_due_releases_the_other(bench: Bench) -> None:
    first, second = bench.call(1), bench.call(2)
    bench.pool.standard(bench.pool.half(1), due=True)
    bench.pool.standard(bench.pool.half(2), due=False)
    assert first.terminal()[0]["code"] == second.terminal()[0]["code"] == "not_due"


def test_the_other_half_missing_ends_with_the_standard_map_and_so_does_the_late_half(bench: Bench) -> None:
    first = bench.call(1)
    bench.pool.standard(bench.pool.half(1), wait_partner_s=30)
    bench.wait(29)
    assert first.terminal() == []
    bench.wait(2)
    assert first.terminal()[0]["code"] == "partner_missing"
    bench.sessions.bye(first, Bye(used={"1": "standard"}))
    second = bench.call(2)
    bench.pool.standard(bench.pool.half(2))
    assert second.terminal()[0]["code"] == "partner_missing"
    assert bench.pool.tasks == {}


def test_the_wait_for_the_other_half_ends_with_its_call_not_with_its_map(bench: Bench) -> None:
    first = bench.call(1)
    bench.pool.standard(bench.pool.half(1), wait_partner_s=30)
    bench.wait(29)
    bench.call(2)
    bench.wait(300)
    assert first.terminal() == []
    bench.pool.standard(bench.pool.half(2))
    assert bench.pool.only("correct") is not None


def test_finished_iterations_are_forgotten(bench: Bench) -> None:
    for iteration in range(20):
        for half in (1, 2):
            bench.call(half, iteration=iteration)
            bench.pool.standard(bench.pool.half(half), due=False)
    bench.wait(1)
    assert bench.sessions._all == []
    assert bench.sessions._open == {}


def test_a_late_half_is_remembered_for_a_while_only(bench: Bench) -> None:
    first = bench.call(1)
    bench.pool.standard(bench.pool.half(1))
    bench.wait(200)
    bench.sessions.bye(first, Bye())
    bench.wait(MEMO_S + 1)
    second = bench.call(2)
    bench.pool.standard(bench.pool.half(2))
    assert second.terminal() == []


def test_a_killed_hook_alone_leaves_no_memory_for_the_run_that_continues(bench: Bench) -> None:
    first = bench.call(1)
    bench.pool.standard(bench.pool.half(1))
    bench.sessions.gone(first)
    second = bench.call(2)
    bench.pool.standard(bench.pool.half(2))
    assert second.terminal() == []
    bench.call(1)
    bench.pool.standard(bench.pool.half(1))
    assert bench.pool.only("correct") is not None


@pytest.mark.parametrize("code", ["oom", "bad_result", "timeout", "failed"])
def test_a_failed_correction_gives_both_the_standard_map_and_the_next_iteration_tries_again(
    bench: Bench, code: str
) -> None:
    first, second = to_correction(bench)
    bench.pool.failed(bench.pool.only("correct"), code, "sorry")
    for hook in (first, second):
        (answer,) = hook.terminal()
        assert (answer["type"], answer["code"], answer["line"]) == ("answer", code, "sorry")
    assert bench.sessions.last_fallback is not None
    assert bench.sessions.last_fallback.code == code
    third = bench.call(1, iteration=6)
    bench.call(2, iteration=6)
    bench.pool.standard(bench.pool.half(1))
    bench.pool.standard(bench.pool.half(2))
    assert bench.pool.only("correct") is not None
    assert third.terminal() == []


def test_worker_death_while_correcting_gives_both_the_standard_map(bench: Bench) -> None:
    first, second = to_correction(bench)
    bench.pool.die()
    assert [hook.terminal()[0]["code"] for hook in (first, second)] == ["worker_died", "worker_died"]
    assert all(hook.terminal()[0]["type"] == "answer" for hook in (first, second))


def test_worker_death_before_the_standard_map_is_a_failure_for_that_half_and_the_standard_map_for_the_other(
    bench: Bench,
) -> None:
    first, second = bench.call(1), bench.call(2)
    bench.pool.standard(bench.pool.half(1))
    bench.pool.die()
    assert first.terminal()[0]["type"] == "answer"
    assert second.terminal()[0]["type"] == "failed"
    assert second.terminal()[0]["code"] == "worker_died"


@pytest.mark.parametrize("stage", ["computing", "waiting", "correcting", "verifying", "half verified"])
def test_a_hook_that_leaves_before_the_commit_means_the_standard_map_for_the_other(bench: Bench, stage: str) -> None:
    if stage == "computing":
        first, second = bench.call(1), bench.call(2)
        bench.sessions.gone(second)
        bench.pool.standard(bench.pool.half(1))
    elif stage == "waiting":
        first, second = bench.call(1), bench.call(2)
        bench.pool.standard(bench.pool.half(1))
        bench.sessions.gone(second)
    elif stage == "correcting":
        first, second = to_correction(bench)
        bench.sessions.gone(second)
    else:
        first, second = to_verification(bench)
        if stage == "half verified":
            verify(bench, second, 2)
        bench.sessions.gone(second)
        verify(bench, first, 1)
    assert [(one["type"], one["code"]) for one in first.terminal()] == [("answer", "partner_missing")]
    assert bench.pool.tasks == bench.pool.kept == {}


def test_an_unconfirmed_map_is_not_committed(bench: Bench) -> None:
    first, second = to_verification(bench)
    verify(bench, first, 1)
    bench.sessions.verified(second, Verified(half=2, ticket="of another iteration"))
    bench.sessions.verified(first, Verified(half=2, ticket=first.last("corrected")["ticket"]))
    assert first.terminal() == []
    bench.wait(Deadlines().verify_s + 1)
    assert first.terminal()[0]["type"] == second.terminal()[0]["type"] == "answer"


def test_deadline_of_the_options_ends_a_correction_that_the_worker_does_not_end(bench: Bench) -> None:
    first, second = bench.call(1), bench.call(2)
    bench.pool.standard(bench.pool.half(1), deadline_s=100)
    bench.pool.standard(bench.pool.half(2), deadline_s=100)
    bench.wait(110)
    assert first.terminal() == []
    bench.wait(10)
    assert first.terminal()[0]["code"] == second.terminal()[0]["code"] == "timeout"
    assert bench.pool.tasks == {}


def test_a_standard_map_that_takes_too_long_is_a_failure(bench: Bench) -> None:
    first = bench.call(1)
    bench.wait(Deadlines().standard_s + 1)
    assert (first.terminal()[0]["type"], first.terminal()[0]["code"]) == ("failed", "timeout")


def test_joined_and_class3d_calls_never_wait(bench: Bench) -> None:
    hook = bench.call(0)
    bench.pool.standard(bench.pool.half(0), due=False, code="no_half_sets", line="no half-sets")
    assert hook.terminal() == [{"type": "answer", "half": 0, "code": "no_half_sets", "line": "no half-sets"}]
    other = bench.call(0, number=2)
    bench.pool.standard(bench.pool.half(0), due=True)
    assert other.terminal()[0]["type"] == "answer"


def test_one_hook_may_bring_both_halves_and_commits_once(bench: Bench) -> None:
    waiting = bench.call(1)
    bench.pool.standard(bench.pool.half(1))
    both = bench.call(1, 2)
    bench.pool.standard(bench.pool.half(1))
    bench.pool.standard(bench.pool.half(2))
    bench.pool.corrected(bench.pool.only("correct"))
    assert [one["half"] for one in both.sent if one["type"] == "corrected"] == [1, 2]
    verify(bench, both, 1)
    verify(bench, both, 2)
    assert both.types().count("commit") == 1
    assert waiting.terminal() == []


def test_classes_bodies_roots_iterations_and_users_are_kept_apart(bench: Bench) -> None:
    bench.call(1)
    for other in ({"number": 2}, {"root": "run_ct5"}, {"iteration": 6}, {"uid": 4242}):
        bench.call(2, **other)
    assert len(bench.ledger.begun) == 5
    sessions = {one["session"] for one in bench.sessions.snapshot()}
    assert sessions == {"/project/job001/run", "/project/job001/run_ct5", "4242:/project/job001/run"}


def test_the_same_half_again_replaces_the_first_call_and_both_get_one_answer(bench: Bench) -> None:
    old = bench.call(1)
    bench.pool.standard(bench.pool.half(1))
    bench.call(1)
    assert [one["code"] for one in old.terminal()] == ["cancelled"]
    bench.call(2)
    bench.pool.standard(bench.pool.half(1))
    bench.pool.standard(bench.pool.half(2))
    assert bench.pool.only("correct") is not None


def test_a_waiting_hook_hears_a_beat_only_while_its_worker_does(bench: Bench) -> None:
    hook = bench.call(1)
    hook.last_sent = bench.clock.now
    bench.wait(1)
    assert "heartbeat" not in hook.types()
    bench.wait(3)
    assert hook.types().count("heartbeat") == 1
    bench.pool.heard = False
    bench.wait(3)
    assert hook.types().count("heartbeat") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": None},
        {"halves": [3]},
        {"halves": "1"},
        {"fd_names": ["a"]},
        {"fd_names": ["../x"] * 5},
        {"environment": {"A": 1}},
        {"settings": 5},
        {"key": {"job_dir": "rel", "root": "run", "iteration": 1, "kind": "class", "number": 1}},
        {"key": {"job_dir": "/a", "root": "x/y", "iteration": 1, "kind": "class", "number": 1}},
        {"key": {"job_dir": "/a", "root": "run", "iteration": True, "kind": "class", "number": 1}},
        {"key": {"job_dir": "/a", "root": "run", "iteration": -1, "kind": "class", "number": 1}},
        {"key": {"job_dir": "/a", "root": "run", "iteration": 1, "kind": "tomo", "number": 1}},
    ],
)
def test_a_malformed_call_is_refused_and_its_descriptors_are_closed(bench: Bench, wrong: dict) -> None:
    before = open_descriptors()
    hook = FakeHook([1])
    frame = call_frame([1])
    frame.message.update(wrong)
    bench.sessions.call(hook, frame)
    assert (hook.sent[0]["type"], hook.sent[0]["code"]) == ("failed", "input_invalid")
    assert open_descriptors() == before
    assert bench.pool.tasks == {}


def test_descriptors_of_calls_do_not_stay(bench: Bench) -> None:
    before = open_descriptors()
    to_correction(bench)
    bench.call(1, 2, iteration=9)
    assert open_descriptors() == before


def test_half_gets_its_own_and_the_common_descriptors(bench: Bench) -> None:
    bench.call(1, 2)
    assert bench.pool.half(2).frame.fd_names == (
        "half2.star",
        "half2.data_real",
        "half2.standard",
        "half2.corrected",
        "mask",
    )


def test_no_worker_at_all_is_said_at_once(bench: Bench) -> None:
    bench.pool.refuse = "no worker can start: no module named torch"
    hook = bench.call(1)
    assert (hook.sent[0]["type"], hook.sent[0]["code"]) == ("failed", "worker_died")
    assert bench.ledger.ended[0][1] == "worker_died"


def test_a_stopping_daemon_answers_everyone(bench: Bench) -> None:
    first = bench.call(1)
    bench.pool.standard(bench.pool.half(1))
    second = bench.call(2)
    bench.sessions.fail_all(Code.CANCELLED, "the daemon was stopped")
    assert [one["type"] for one in first.terminal()] == ["answer"]
    assert [one["type"] for one in second.terminal()] == ["failed"]
    assert bench.sessions.open_calls == 0


def test_a_refinement_is_let_go_some_time_after_its_program_has_ended(bench: Bench) -> None:
    bench.refiner = Refiner(os.getpid(), psutil.Process().create_time())
    hook = bench.call(1)
    bench.pool.standard(bench.pool.half(1), due=False)
    bench.sessions.bye(hook, Bye())
    bench.wait(10_000)
    assert bench.pool.released == []
    assert bench.sessions.alive()
    bench.sessions._refinements["/project/job001/run"].refiner = Refiner(os.getpid(), 1.0)
    bench.wait(11)
    assert not bench.sessions.alive()
    assert bench.pool.released == []
    bench.wait(RELEASE_AFTER_S + 11)
    assert bench.pool.released == ["/project/job001/run"]
    assert bench.sessions.snapshot() == []


def test_a_refinement_whose_program_cannot_be_seen_is_let_go_after_the_keep_alive(bench: Bench) -> None:
    hook = bench.call(1)
    bench.pool.standard(bench.pool.half(1), due=False)
    bench.sessions.bye(hook, Bye())
    bench.wait(590)
    assert bench.pool.released == []
    bench.wait(20)
    assert bench.pool.released == ["/project/job001/run"]


def test_cancelling_an_iteration_gives_both_halves_their_standard_map(bench: Bench) -> None:
    first, second = to_correction(bench)
    (running,) = bench.sessions.running()
    assert bench.sessions.cancel(running["job_id"])
    assert {hook.terminal()[0]["code"] for hook in (first, second)} == {"cancelled"}
    assert not bench.sessions.cancel(running["job_id"])
