"""Every invariant can fail: each is shown a history that violates it, and one that does not."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from soak import bounds
from soak.bystanders import left_over, marks, touched
from soak.figures import QUANTITIES, course, kept
from soak.history import Acknowledged, Check, Ended, HealthAnswer, History, HookEnd, JobEnd, Level, Span, Steady
from soak.invariants import INVARIANTS, violations

FINE = HookEnd(5.0, "r", 3, 0, 1, 0, 2.0, "standard", "standard map (RELION's own): not due")
OTHER = replace(FINE, half=2)
CORRECTED = replace(OTHER, made="corrected", said="corrected map: 4 A")
TOLD = Acknowledged(1.0, "j", "fsc3d", "/out", "request")
DONE = JobEnd(2.0, "j", "succeeded")
FAILED = JobEnd(9.0, "j", "failed", "oom", "no memory", 1)


def level(at_s: float, rss_mb: float = 100.0, descriptors: int = 20, role: str = "daemon") -> Level:
    return Level(at_s, role, 1, rss_mb, descriptors, 3)


def growing(mb_per_minute: float = 0.0, descriptors_per_minute: float = 0.0) -> list[Level]:
    return [
        level(float(s), 100.0 + mb_per_minute * s / 60, 20 + int(descriptors_per_minute * s / 60))
        for s in range(0, 400, 5)
    ]


def calm(mb: float = 0.0, descriptors: float = 0.0, role: str = "worker", lives: int = 1) -> list[Steady]:
    """Rounds whose first ones each add a network of 20 MB, and which wobble by 5 MB."""
    seen = []
    for number in range(bounds.ROUNDS):
        memory = 500.0 + 20 * min(number, 8) + 5 * (number % 3) + mb * number
        one = level(400.0 + number, memory, 20 + int(descriptors * number), role)
        pid = 1 + number * lives // bounds.ROUNDS
        seen += [Steady(number, replace(one, pid=pid)), Steady(number, level(400.0 + number, role=THE_OTHER[role]))]
    return seen


THE_OTHER = {"worker": "daemon", "daemon": "worker"}
HELD = [
    FINE,
    OTHER,
    replace(CORRECTED, attempt=1, half=1),
    replace(CORRECTED, attempt=1),
    replace(FINE, iteration=4, status=137, made="none", wounded=True),
    replace(FINE, iteration=5, seconds=bounds.CALL_S + 10, held_s=20.0),
    replace(FINE, refinement="b", at_s=390.0),
    replace(FINE, iteration=6, at_s=400.0, seconds=bounds.CALL_S + 10),
    TOLD,
    replace(TOLD, at_s=1.5),
    DONE,
    replace(TOLD, job_id="k", request=""),
    Span("room", 4.0, 6.0),
    replace(FAILED, job_id="k"),
    HealthAnswer(3.0, 0.1),
    Span("daemon", 10.0, 20.0),
    HealthAnswer(25.0, 20.0, error="silent"),
    HealthAnswer(5.5, 0.0, error="no daemon"),
    Ended(20.0, 7, wanted=True),
    Ended(5.0, 8, wanted=False, words="database or disk is full", served=False),
    *growing(),
    *calm(),
    Check(1.0, "nothing is left behind", True, ""),
]
VIOLATED: dict[str, list[list[object]]] = {
    "hooks end well": [[replace(FINE, status=1)]],
    "maps are whole": [
        [replace(FINE, made="none")],
        [replace(FINE, made="broken: 12 bytes")],
        [replace(FINE, made="broken: 12 bytes", wounded=True, status=137)],
    ],
    "log and map agree": [
        [replace(FINE, made="corrected")],
        [replace(CORRECTED, made="standard")],
        [replace(FINE, said="")],
    ],
    "halves are alike": [[FINE, CORRECTED]],
    "calls are in time": [
        [replace(FINE, at_s=200.0, seconds=bounds.CALL_S + 1)],
        [replace(FINE, refinement="b"), replace(FINE, at_s=200.0, seconds=bounds.CALL_S + 1)],
        [replace(FINE, at_s=299.0, refinement="b"), replace(FINE, at_s=300.0, seconds=bounds.QUEUED_S + 1)],
    ],
    "jobs are kept": [[TOLD], [TOLD, replace(DONE, state="lost")], [TOLD, replace(DONE, state="running")]],
    "requests are done once": [
        [TOLD, DONE, replace(TOLD, job_id="other"), replace(DONE, job_id="other")],
        [Check(1.0, "requests are done once", False, "twice")],
    ],
    "jobs are equal": [[TOLD, replace(DONE, differing=("a.mrc",))]],
    "jobs fail for a reason": [
        [TOLD, FAILED],
        [TOLD, replace(FAILED, reason="worker_died", attempts=1)],
        [TOLD, Span("room", 10.0, 12.0), FAILED],
        [TOLD, Span("room", 4.0, 6.0), replace(FAILED, reason="failed", text="KeyError: 'x'")],
        [TOLD, replace(DONE, state="cancelled")],
    ],
    "health is in time": [
        [HealthAnswer(3.0, bounds.HEALTH_S + 1)],
        [HealthAnswer(3.0, 1.0, error="refused")],
        [Span("room", 2.0, 4.0), HealthAnswer(3.0, 0.0, error="no daemon")],
    ],
    "daemons live": [
        [Ended(4.0, 7, wanted=False)],
        [Span("room", 3.0, 5.0), Ended(4.0, 7, wanted=False, words="database or disk is full")],
        [Span("room", 3.0, 5.0), Ended(4.0, 7, wanted=False, words="no such file", served=False)],
        [Span("room", 3.0, 5.0), Ended(6.0, 7, wanted=False, words="disk is full", served=False)],
    ],
    "processes are bounded": [
        [level(1.0, bounds.MOST_MB["daemon"] + 1)],
        [level(1.0, 1.0, bounds.MOST_DESCRIPTORS["daemon"] + 1)],
    ],
    "processes are flat": [growing(bounds.MB_PER_MINUTE["daemon"] + 1), growing(0.0, 5.0)],
    "nothing is kept": [
        calm(mb=1.5 * bounds.KEPT_MB["worker"]),
        calm(mb=1.5 * bounds.KEPT_MB["daemon"], role="daemon"),
        calm(descriptors=0.5),
        calm(lives=4),
    ],
    **{
        name: [[Check(1.0, name, False, "why")]]
        for name in (
            "health is true",
            "inbox answers",
            "deeds are done",
            "others' files are untouched",
            "nothing is left behind",
            "all is well in the calm",
        )
    },
}


def test_a_history_in_which_all_went_well_violates_nothing():
    assert violations(History(list(HELD)), over=True) == []


def test_every_invariant_has_a_history_that_violates_it():
    assert set(VIOLATED) == set(INVARIANTS)


@pytest.mark.parametrize(("name", "records"), [(name, one) for name, many in VIOLATED.items() for one in many])
def test_a_violated_invariant_is_named_and_no_other(name, records):
    assert {found.invariant for found in violations(History(list(records)), over=True)} == {name}


def test_what_may_yet_come_is_waited_for_while_the_run_goes_on():
    assert violations(History([TOLD]), over=False) == []


def test_one_slope_is_found_over_processes_of_different_levels():
    lives = [replace(one, pid=pid, rss_mb=one.rss_mb + 50 * pid) for pid in (1, 2) for one in growing(3.0)]
    found = course(lives, "daemon", QUANTITIES["memory (MB)"])
    assert found.slope == pytest.approx(3.0, rel=0.02)
    assert found.processes == 2


def test_what_is_kept_of_a_round_is_found_under_what_wobbles():
    (found,) = kept(calm(mb=0.4), "worker", QUANTITIES["memory (MB)"]).values()
    assert found.rounds == bounds.ROUNDS - bounds.WARMING_ROUNDS
    assert found.slope == pytest.approx(0.4, abs=0.1)


def test_a_file_that_was_touched_is_found(tmp_path):
    for name in ("same", "other", "gone", "dated"):
        (tmp_path / name).write_text("x")
    before = marks(tmp_path)
    (tmp_path / "other").write_text("y")
    (tmp_path / "gone").unlink()
    os.utime(tmp_path / "dated", (5, 5))
    assert len(touched(before)) == 3


def test_temporary_files_are_found_and_others_are_not(tmp_path):
    for name in ("map.mrc", ".map.mrc.77.part", "run.log", ".lock"):
        (tmp_path / name).touch()
    assert left_over(tmp_path) == [".lock", ".map.mrc.77.part"]


def test_what_was_short_at_any_time_since_is_known():
    history = History([Span("room", 4.0, 6.0), Span("daemon", 8.0, 9.0)])
    assert history.was_kept("room", 5.0)
    assert not history.was_kept("room", 7.0)
    assert History([Span("room", 4.0, float("inf"))]).was_kept("room", 100.0)


def test_what_is_open_for_a_while_does_not_count_as_growth_and_what_stays_does():
    bursts = [replace(one, descriptors=one.descriptors + (100 if one.at_s % 60 < 10 else 0)) for one in growing()]
    assert course(bursts, "daemon", QUANTITIES["descriptors"]).slope == 0.0
    dips = [replace(one, descriptors=one.descriptors - (10 if one.at_s % 300 < 40 else 0)) for one in growing()]
    assert course(dips, "daemon", QUANTITIES["descriptors"]).slope <= 0.0
    early = [replace(one, descriptors=one.descriptors - (10 if 100 < one.at_s < 130 else 0)) for one in growing()]
    assert course(early, "daemon", QUANTITIES["descriptors"]).slope == 0.0
    leaks = [replace(one, descriptors=one.descriptors + int(one.at_s // 15)) for one in bursts]
    assert course(leaks, "daemon", QUANTITIES["descriptors"]).slope == pytest.approx(4.0, abs=0.2)
