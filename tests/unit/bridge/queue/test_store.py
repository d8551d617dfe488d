"""The store keeps what it acknowledged and allows only the changes of state in the table."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from cryobridge.bridge.queue.store import RELION_KIND, Store, StoreUnavailable, WrongTransition
from cryobridge.schemas.state import MAX_ATTEMPTS, TERMINAL, TRANSITIONS, JobState, may_become

SPEC = {"schema": "cryobridge/job/1", "kind": "map.fsc3d"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "jobs.sqlite")
    yield store
    store.close()


class StoreAgainstModel(RuleBasedStateMachine):
    """Random histories with crashes; the model is a dict of (state, attempts, kind, abort)."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        # In memory where possible: this is about states, and thousands of real writes would take minutes.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._folder = tempfile.TemporaryDirectory(prefix="cb-store-", dir=memory)
        self._path = Path(self._folder.name) / "jobs.sqlite"
        self.store = Store(self._path)
        self.model: dict[str, dict] = {}
        self.order: list[str] = []

    def teardown(self) -> None:
        self.store.close()
        self._folder.cleanup()

    @rule(target=jobs, kind=st.sampled_from(["map.fsc3d", RELION_KIND]), priority=st.integers(0, 2))
    def add(self, kind: str, priority: int) -> str:
        job = self.store.add(kind, SPEC, 1000, priority=priority)
        self.model[job.id] = {
            "state": JobState.QUEUED,
            "attempts": 0,
            "kind": kind,
            "abort": False,
            "priority": priority,
        }
        self.order.append(job.id)
        return job.id

    def _attempt(self, job_id: str, then: JobState, change) -> None:
        expected = self.model[job_id]
        if may_become(expected["state"], then):
            change()
            expected["state"] = then
        else:
            with pytest.raises(WrongTransition):
                change()

    @rule(job=jobs)
    def start(self, job: str) -> None:
        allowed = may_become(self.model[job]["state"], JobState.RUNNING)
        self._attempt(job, JobState.RUNNING, lambda: self.store.start(job))
        self.model[job]["attempts"] += allowed

    @rule(job=jobs)
    def succeed(self, job: str) -> None:
        self._attempt(job, JobState.SUCCEEDED, lambda: self.store.succeed(job, {"x": 1}))

    @rule(job=jobs)
    def fail(self, job: str) -> None:
        self._attempt(job, JobState.FAILED, lambda: self.store.fail(job, "oom", "no memory"))

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        self._attempt(job, JobState.CANCELLED, lambda: self.store.cancel(job))

    @rule(job=jobs)
    def abort(self, job: str) -> None:
        self.store.request_abort(job)
        self.model[job]["abort"] = True

    def _interrupted(self, job: str) -> None:
        expected = self.model[job]
        if expected["abort"]:
            expected["state"] = JobState.CANCELLED
        elif expected["kind"] == RELION_KIND or expected["attempts"] >= MAX_ATTEMPTS:
            expected["state"] = JobState.FAILED
        else:
            expected["state"] = JobState.QUEUED

    @rule(job=jobs, counts=st.booleans())
    def interrupt(self, job: str, counts: bool) -> None:
        if self.model[job]["state"] is JobState.RUNNING:
            self.store.interrupt(job, "worker_died", "gone", counts=counts)
            self.model[job]["attempts"] -= not counts
            self._interrupted(job)
        else:
            with pytest.raises(WrongTransition):
                self.store.interrupt(job, "worker_died", "gone", counts=counts)

    @rule()
    def crash_and_recover(self) -> None:
        # Every change is on disk when its method returns, so closing in any instant is what a kill leaves.
        self.store.close()
        self.store = Store(self._path)
        recovered = {job.id for job in self.store.recover()}
        running = {job for job, known in self.model.items() if known["state"] is JobState.RUNNING}
        assert recovered == running
        for job in running:
            self._interrupted(job)

    @invariant()
    def same_as_the_model(self) -> None:
        for job_id, expected in self.model.items():
            job = self.store.get(job_id)
            assert job is not None
            assert (job.state, job.attempts, job.abort_requested) == (
                expected["state"],
                expected["attempts"],
                expected["abort"],
            )
            assert (job.finished_at is not None) == (job.state in TERMINAL)
            history = [JobState(event.type) for event in self.store.events(job_id)]
            assert history[0] is JobState.QUEUED
            assert all(may_become(now, then) for now, then in pairwise(history))
            assert history[-1] is job.state

    @invariant()
    def queue_is_by_priority_then_arrival(self) -> None:
        waiting = [job for job in self.order if self.model[job]["state"] is JobState.QUEUED]
        waiting.sort(key=lambda job: self.model[job]["priority"])
        assert [job.id for job in self.store.queued()] == waiting

    @invariant()
    def counts_add_up(self) -> None:
        assert sum(self.store.counts().values()) == len(self.model)


TestStoreAgainstModel = StoreAgainstModel.TestCase
TestStoreAgainstModel.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_a_daemon_may_stop_in_order_as_often_as_it_likes(store: Store) -> None:
    job = store.add("map.fsc3d", SPEC, 1)
    for _ in range(2 * MAX_ATTEMPTS):
        store.start(job.id)
        assert store.interrupt(job.id, "cancelled", "the daemon stopped", counts=False).state is JobState.QUEUED
    for _ in range(MAX_ATTEMPTS):
        store.start(job.id)
        ended = store.interrupt(job.id, "worker_died", "gone")
    assert (ended.state, ended.attempts) == (JobState.FAILED, MAX_ATTEMPTS)


def test_sql_itself_refuses_every_step_that_the_table_forbids(store: Store, tmp_path: Path) -> None:
    job = store.add("map.fsc3d", SPEC, 1)
    store.close()
    paths = {
        JobState.QUEUED: [],
        JobState.RUNNING: [JobState.RUNNING],
        JobState.INTERRUPTED: [JobState.RUNNING, JobState.INTERRUPTED],
        JobState.SUCCEEDED: [JobState.RUNNING, JobState.SUCCEEDED],
        JobState.FAILED: [JobState.FAILED],
        JobState.CANCELLED: [JobState.CANCELLED],
    }
    db = sqlite3.connect(tmp_path / "jobs.sqlite", isolation_level=None)
    for now, path in paths.items():
        for then in set(JobState) - {now}:
            db.execute("BEGIN")
            for step in path:
                db.execute("UPDATE job SET state = ? WHERE id = ?", (step.value, job.id))
            if then in TRANSITIONS[now]:
                db.execute("UPDATE job SET state = ? WHERE id = ?", (then.value, job.id))
            else:
                with pytest.raises(sqlite3.IntegrityError, match="not allowed"):
                    db.execute("UPDATE job SET state = ? WHERE id = ?", (then.value, job.id))
            db.execute("ROLLBACK")
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("UPDATE job SET state = 'done' WHERE id = ?", (job.id,))
    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        db.execute("UPDATE event SET text = 'x'")
    db.close()


def test_a_request_id_makes_one_job_per_user_however_often_it_is_sent(store: Store) -> None:
    first = store.add("map.fsc3d", SPEC, 1, request_id="r1")
    assert store.add("map.fsc3d", SPEC, 1, request_id="r1").id == first.id
    assert store.add("map.fsc3d", SPEC, 2, request_id="r1").id != first.id
    assert store.find_request("r1", 1) is not None
    assert store.find_request("r1", 3) is None
    assert sum(store.counts().values()) == 2


def test_forgetting_keeps_open_jobs_and_the_newest_finished_ones(store: Store) -> None:
    jobs = [store.add("map.fsc3d", SPEC, 1).id for _ in range(5)]
    for job in jobs[:4]:
        store.start(job)
        store.succeed(job, {})
    assert store.forget_finished(2) == 2
    assert {job.id for job in store.newest(10)} == set(jobs[2:])
    assert store.events(jobs[0]) == []


def test_a_second_daemon_cannot_open_the_same_file(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="locked"):
        Store(tmp_path / "jobs.sqlite")


def test_a_file_of_a_newer_format_or_no_database_is_refused(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "new.sqlite")
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreUnavailable, match="newer"):
        Store(tmp_path / "new.sqlite")
    (tmp_path / "text.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreUnavailable):
        Store(tmp_path / "text.sqlite")


WRITER = """
    import sys
    from pathlib import Path
    from cryobridge.bridge.queue.store import Store
    store = Store(Path(sys.argv[1]))
    store.recover()
    while True:
        job = store.add("map.fsc3d", {"kind": "map.fsc3d"}, 1)
        print("A", job.id, flush=True)
        store.start(job.id)
        store.succeed(job.id, {"ok": True})
        print("S", job.id, flush=True)
"""


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    added: set[str] = set()
    succeeded: set[str] = set()
    for round_number in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(0.02 + 0.03 * round_number)
        os.kill(process.pid, signal.SIGKILL)
        lines = [first, *process.stdout.readlines()]
        process.stdout.close()
        process.wait()
        for line in lines:
            if line.endswith("\n") and line.strip():
                word, job_id = line.split()
                (added if word == "A" else succeeded).add(job_id)
    store = Store(path)
    states = {job.id: job.state for job in store.newest(100_000)}
    store.close()
    assert len(added) >= 4
    assert added <= states.keys()
    assert all(states[job] is JobState.SUCCEEDED for job in succeeded)
