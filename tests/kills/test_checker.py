"""The checker finds every violation that is planted in a history, and none in a clean one."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from cryobridge.bridge.queue.store import Store
from cryobridge.schemas.codes import Code
from kills.checker import RULES, Left, Promise, Row, read_database, violations
from kills.journal import (
    Asked,
    Called,
    CallOver,
    CancelAsked,
    Entry,
    JobOver,
    Journal,
    Killed,
    NotReady,
    Ready,
    Taken,
    read,
)

WALK = ("queued", "running", "progress", "interrupted", "queued", "running", "succeeded")
ROW = Row("j", "map.fsc3d", "succeeded", 2, "/out/1", "name")
LOST = Row("k", "map.fsc3d", "failed", 3, "/out/2")
LOST_WALK = ("queued", *("running", "interrupted", "queued") * 2, "running", "interrupted", "failed")
GONE = Row("l", "map.lowpass", "cancelled", 0, "/out/3")
ITERATION = Row("m", "relion.reconstruct", "failed", 1)
LEFT = Left(
    [ROW, LOST, GONE, ITERATION],
    {"j": WALK, "k": LOST_WALK, "l": ("queued", "cancelled"), "m": ("queued", "running", "interrupted", "failed")},
)
STANDARD = "standard map (RELION's own): the daemon went away after 0.1 s"
CORRECTED = "corrected map: 4 A"
ASKED = Asked(0.5, "one", "name", "/out/1", "fsc3d", "batch")
TAKEN = Taken(0.6, "one", "j")
OVER = JobOver(3.0, "j", "succeeded", "", 2)
KILLED = Killed(1.0, 1, "daemon", 100)
READY = Ready(2.0, 1, "daemon", 0.9, 0.3, 2.0)
CALLED = Called(1.0, "r", 3, 1)
ENDED = CallOver(2.0, "r", 3, 1, 0, 1.0, "standard", STANDARD, 1)
CLEAN: list[Entry] = [
    ASKED,
    TAKEN,
    replace(TAKEN, at_s=0.7),
    OVER,
    Asked(0.5, "two", "", "/out/2", "fsc3d", "batch"),
    Taken(0.6, "two", "k"),
    JobOver(4.0, "k", "failed", "worker_died", 3),
    # The answer to this one was lost, and nothing was promised.
    Asked(0.8, "four", "", "/out/4", "fsc3d", "batch"),
    Asked(0.5, "three", "", "/out/3", "lowpass", "interactive"),
    Taken(0.6, "three", "l"),
    CancelAsked(0.7, "l"),
    JobOver(0.8, "l", "cancelled", "cancelled", 0),
    KILLED,
    READY,
    Killed(3.0, 2, "daemon", 101),
    Killed(3.2, 3, "daemon as it starts", 102),
    # Late by the clock, on a machine that had other things to do.
    Ready(8.0, 3, "daemon", 4.8, 0.3, 30.0),
    Killed(9.0, 4, "worker", 103),
    Ready(9.1, 4, "daemon", 0.1, 0.3, 2.0),
    CALLED,
    ENDED,
    replace(CALLED, half=2),
    replace(ENDED, half=2),
    replace(CALLED, iteration=4),
    replace(ENDED, iteration=4, made="corrected", said=CORRECTED),
    replace(CALLED, iteration=4, half=2),
    replace(ENDED, iteration=4, half=2, made="corrected", said=CORRECTED),
]


def changed(old: Entry, new: Entry | None) -> list[Entry]:
    assert old in CLEAN
    return [*(entry for entry in CLEAN if entry != old), *([new] if new is not None else [])]


def walking(row: Row, *walk: str) -> Left:
    rows = [row if one.job_id == row.job_id else one for one in LEFT.rows]
    return Left(rows, {**LEFT.events, row.job_id: walk or LEFT.events[row.job_id]})


PLANTED: list[tuple[str, list[Entry], Left]] = [
    ("jobs are kept", CLEAN, Left([LOST, GONE], LEFT.events)),
    ("jobs are kept", CLEAN, walking(replace(ROW, state="running"), *WALK[:-1])),
    ("jobs are kept", changed(OVER, None), LEFT),
    ("ends are true", changed(OVER, replace(OVER, state="cancelled")), LEFT),
    ("states follow the table", CLEAN, walking(ROW, "queued", "succeeded")),
    ("states follow the table", CLEAN, walking(ROW, *WALK, "failed", "succeeded")),
    ("states follow the table", CLEAN, walking(ROW, *WALK[1:])),
    ("states follow the table", CLEAN, walking(ROW, *WALK[:-1])),
    ("states follow the table", CLEAN, walking(ITERATION, "queued", "running", "queued", "failed")),
    ("attempts are few", CLEAN, walking(LOST, "queued", "running", "interrupted", *LOST_WALK)),
    ("attempts are few", CLEAN, walking(replace(LOST, attempts=4))),
    ("requests are made once", [*CLEAN, replace(TAKEN, job_id="k")], LEFT),
    ("requests are made once", CLEAN, Left([*LEFT.rows, replace(ROW, job_id="n")], {**LEFT.events, "n": WALK})),
    ("results are equal", changed(OVER, replace(OVER, differing=("map.mrc",))), LEFT),
    ("jobs end for a reason", changed(CancelAsked(0.7, "l"), None), LEFT),
    ("jobs end for a reason", [*CLEAN, JobOver(4.0, "k", "failed", "worker_died", 2)], LEFT),
    ("jobs end for a reason", [*CLEAN, JobOver(4.0, "k", "failed", "oom", 3)], LEFT),
    ("calls end with one map", changed(ENDED, None), LEFT),
    ("calls end with one map", changed(ENDED, replace(ENDED, status=1)), LEFT),
    ("calls end with one map", changed(ENDED, replace(ENDED, made="none", maps=0)), LEFT),
    ("calls end with one map", changed(ENDED, replace(ENDED, made="broken: not finite")), LEFT),
    ("calls end with one map", changed(ENDED, replace(ENDED, maps=2)), LEFT),
    ("calls end with one map", changed(ENDED, replace(ENDED, said=CORRECTED)), LEFT),
    ("halves are alike", changed(ENDED, replace(ENDED, made="corrected", said=CORRECTED)), LEFT),
    ("hooks find the socket", changed(ENDED, replace(ENDED, said=f"{STANDARD}: no daemon listens on /s")), LEFT),
    ("ready in time", changed(READY, replace(READY, seconds=2.5, cpu_s=2.1)), LEFT),
    ("ready in time", changed(READY, replace(READY, seconds=10.5)), LEFT),
    ("ready in time", changed(READY, None), LEFT),
    ("ready in time", changed(READY, NotReady(30.0, 1, 30.0)), LEFT),
]


def test_nothing_is_found_in_a_clean_history() -> None:
    assert violations(CLEAN, LEFT) == []


@pytest.mark.parametrize(("rule", "entries", "left"), PLANTED)
def test_what_is_planted_is_found(rule: str, entries: list[Entry], left: Left) -> None:
    assert rule in {found.rule for found in violations(entries, left)}


def test_something_is_planted_for_every_rule() -> None:
    assert {rule for rule, _, _ in PLANTED} == {*RULES, "ready in time"}


def test_a_strict_promise_counts_the_clock_alone() -> None:
    strict = Promise(at_all_s=2.0)
    assert [found.text for found in violations(CLEAN, LEFT, strict)] == [
        "kill 3: ready after 4.80 s (0.30 s of the processor)"
    ]


def test_a_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "history.jsonl")
    entries = [*CLEAN, NotReady(30.0, 1, 30.0), replace(OVER, differing=("map.mrc", "a.csv"))]
    for entry in entries:
        journal.add(entry)
    journal.close()
    assert read((tmp_path / "history.jsonl").read_text().splitlines()) == entries == journal.entries


def test_a_database_is_read_as_the_daemon_left_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    spec = {"kind": "map.fsc3d", "output": "/out/1"}
    job = store.add("map.fsc3d", spec, 0, request_id="name")
    store.start(job.id)
    store.note(job.id, "progress", "half of it")
    store.interrupt(job.id, Code.WORKER_DIED, "gone")
    store.start(job.id)
    store.succeed(job.id, {})
    store.close()
    assert read_database(tmp_path / "jobs.sqlite") == Left([replace(ROW, job_id=job.id)], {job.id: list(WALK)})


def test_a_database_that_was_changed_by_hand_is_found_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    job = store.add("map.fsc3d", {"kind": "map.fsc3d", "output": "/out/1"}, 0)
    store.close()
    with sqlite3.connect(tmp_path / "jobs.sqlite") as database:
        database.execute("INSERT INTO event (job_id, at, type, text) VALUES (?, 0, 'succeeded', '')", (job.id,))
    found = violations([], read_database(tmp_path / "jobs.sqlite"))
    assert {one.rule for one in found} == {"states follow the table"}
