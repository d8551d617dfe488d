"""The store tells of its changes: each once, in order, and only when it has reached the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryobridge.bridge.queue.rows import StoredJob
from cryobridge.bridge.queue.store import Store, WrongTransition
from cryobridge.schemas.codes import Code
from cryobridge.schemas.state import JobState


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "jobs.sqlite")
    yield store
    store.close()


@pytest.fixture
def told(store: Store) -> list[tuple[str | None, str]]:
    told: list[tuple[str | None, str]] = []

    def hear(before: JobState | None, job: StoredJob) -> None:
        assert not store._db.in_transaction, "told before it was on the disk"
        told.append((before and before.value, job.state.value))

    store.on_change(hear)
    return told


def test_each_change_is_told_with_the_state_before(store: Store, told: list[tuple[str | None, str]]) -> None:
    job = store.add("map.fsc3d", {}, 1).id
    store.start(job)
    store.note(job, "progress", "half way")
    store.interrupt(job, Code.WORKER_DIED, "died")
    store.request_abort(job)
    store.cancel(job)
    assert told == [
        (None, "queued"),
        ("queued", "running"),
        ("running", "running"),
        *[("running", "interrupted"), ("interrupted", "queued")],
        ("queued", "queued"),
        ("queued", "cancelled"),
    ]


def test_what_is_taken_back_is_not_told_and_neither_is_what_was_made_before(
    store: Store, told: list[tuple[str | None, str]]
) -> None:
    job = store.add("map.fsc3d", {}, 1, request_id="r").id
    told.clear()

    def start_twice() -> None:
        with store.together():
            store.start(job)
            store.start(job)

    with pytest.raises(WrongTransition):
        start_twice()
    with pytest.raises(KeyError):
        store.start("never")
    assert store.add("map.fsc3d", {}, 1, request_id="r").id == job
    assert told == []
    with store.together():
        store.start(job)
        assert told == []
    assert told == [("queued", "running")]


def test_the_newest_of_one_user_state_or_kind(store: Store) -> None:
    jobs = [store.add(kind, {}, uid).id for uid in (1, 2) for kind in ("a", "b", "a")]
    store.start(jobs[3])
    assert [job.id for job in store.newest(9, uid=1)] == jobs[2::-1]
    assert [job.id for job in store.newest(9, state="running")] == [jobs[3]]
    assert [job.id for job in store.newest(1, kind="b")] == [jobs[4]]
    assert [job.id for job in store.newest(9, uid=1, state="queued", kind="b")] == [jobs[1]]
