"""What the daemon's parts do, as rows and figures: jobs as booked, calls as they end, workers as they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.fake_pool import Clock, FakeHook, FakePool, call_frame

from cryobridge.bridge.daemon.feed import Feed, ToldLedger
from cryobridge.bridge.daemon.health import Health
from cryobridge.bridge.daemon.metrics import Metrics
from cryobridge.bridge.daemon.news import Change, News
from cryobridge.bridge.daemon.rights import Rights
from cryobridge.bridge.queue.store import Store, StoreUnavailable
from cryobridge.bridge.queue.submitted import JobQueue
from cryobridge.bridge.refinements.ledger import Books
from cryobridge.bridge.refinements.pairing import Sessions
from cryobridge.schemas.codes import ForeignCode
from cryobridge.schemas.config import Deadlines, Limits
from cryobridge.schemas.messages import Verified
from cryobridge.schemas.news import NewsTable
from cryobridge.schemas.worker_messages import JobDone, TaskFailed, TaskProgress

ME = os.getuid()
GPU = "cuda:GPU-1"


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.pool = FakePool()
        self.store = Store(folder / "jobs.sqlite", clock=self.clock)
        self.books = Books(self.store, self.clock)
        self.news = News(Rights(), self.clock, self.clock)
        self.metrics = Metrics(self.news, ["map.fsc3d"], "1.2")
        self.changes: list[Change] = []
        ledger = ToldLedger(self.books, self.news, self.clock, self.clock)
        self.sessions = Sessions(self.pool, ledger, Deadlines(), self.clock, find=lambda pid: None)
        self.jobs = JobQueue(self.store, self.pool, Limits(), self.clock, ["cpu"])
        self.worker: dict[str, Any] = {
            "name": "worker-0",
            "device": GPU,
            "device_name": "H100",
            "pid": 7,
            "state": "starting",
            "rss_bytes": 100,
            "tasks": [],
            "task": None,
            "still_s": 0.0,
            "last_error": None,
        }
        self.health = Health(True, True, False)
        self.memory: dict[str, tuple[int, int]] = {}
        self.feed = Feed(
            self.news,
            self.store,
            self.jobs,
            self.sessions,
            lambda: {"state": "ready", "uptime_s": self.clock() - 1000, "clients": 3, "workers": [dict(self.worker)]},
            lambda: self.health,
            lambda: self.memory,
            self.clock,
        )

    def start(self) -> None:
        self.feed.start()
        self.news.watch(self.changes.append)

    def submit(self, **run: Any) -> str:
        spec = {
            "schema": "cryobridge/job/1",
            "kind": "map.fsc3d",
            "inputs": {"half1": "/a.mrc", "half2": "/b.mrc"},
            "output": str(self.folder / "out"),
            "run": run,
        }
        return self.jobs.submit(spec, ME).id

    def told(self, table: NewsTable) -> list[str]:
        """What was told of a table since the last time."""
        told = [one.what.value for one in self.changes if one.table is table]
        self.changes[:] = [one for one in self.changes if one.table is not table]
        return told

    def figures(self) -> dict[str, float]:
        """Every sample, as `name{label=value}` -> value."""
        found = {}
        for family in text_string_to_metric_families(self.metrics.text()):
            for sample in family.samples:
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


def test_a_job_is_told_of_from_its_booking_to_its_end(bench: Bench) -> None:
    bench.start()
    job_id = bench.submit(priority="interactive")
    bench.feed.tick()
    assert bench.figures()["cryobridge_queue_length{priority=interactive}"] == 1
    task = bench.pool.only("urgent_job")
    bench.clock.now += 10
    bench.jobs.task_frame(task, TaskProgress(task=task.id, text="one", fraction=0.1))
    bench.jobs.task_frame(task, TaskProgress(task=task.id, text="two", fraction=0.2))
    bench.feed.tick()
    row = bench.news.rows(NewsTable.JOBS)[job_id]
    assert (row["state"], row["worker"], row["progress"]) == ("running", "worker-0", {"text": "two", "fraction": 0.2})
    bench.clock.now += 30
    bench.jobs.task_frame(task, JobDone(task=task.id, result={}))
    assert bench.told(NewsTable.JOBS) == [
        *("job_queued", "job_progress", "job_started", "job_noted", "job_progress", "job_ended"),
    ]
    assert bench.news.rows(NewsTable.JOBS) == {}
    assert bench.feed.counts == bench.store.counts()
    figures = bench.figures()
    assert figures["cryobridge_jobs_total{kind=map.fsc3d,reason=none,state=succeeded}"] == 1
    assert figures["cryobridge_queue_seconds_sum{priority=interactive}"] == 10
    assert figures["cryobridge_job_seconds_sum{kind=map.fsc3d}"] == 30
    assert figures["cryobridge_queue_length{priority=interactive}"] == 0


def test_a_job_whose_worker_dies_is_interrupted_queued_and_started_again(bench: Bench) -> None:
    bench.start()
    job_id = bench.submit()
    for _ in range(3):
        bench.jobs.tick(bench.clock())
        bench.pool.die()
    bench.jobs.tick(bench.clock())
    one = ["job_started", "job_interrupted", "job_queued"]
    assert bench.told(NewsTable.JOBS) == ["job_queued", *one, *one, "job_started", "job_interrupted", "job_ended"]
    assert job_id not in bench.news.rows(NewsTable.JOBS)
    assert bench.feed.counts == bench.store.counts()
    assert bench.figures()["cryobridge_jobs_total{kind=map.fsc3d,reason=worker_died,state=failed}"] == 1


def test_what_could_not_be_booked_is_told_when_it_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.start()
    bench.submit()
    task = bench.pool.only("job")
    bench.jobs.tick(bench.clock())

    def full() -> None:
        raise StoreUnavailable("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "together", full)
        bench.jobs.task_frame(task, JobDone(task=task.id, result={}))
        assert bench.told(NewsTable.JOBS) == ["job_queued", "job_started"]
    bench.jobs.tick(bench.clock.now + 5)
    assert bench.told(NewsTable.JOBS) == ["job_ended"]


def test_the_database_is_asked_once_and_what_was_there_is_known(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.store.add("map.fsc3d", {}, ME, job_id="old")
    done = bench.store.add("map.fsc3d", {}, ME)
    bench.store.start(done.id)
    bench.store.succeed(done.id, {})
    bench.start()
    assert list(bench.news.rows(NewsTable.JOBS)) == ["old"]
    assert bench.news.rows(NewsTable.COUNTS)["jobs"] == bench.store.counts()
    for question in ("counts", "queued", "running", "newest", "open_jobs", "events"):
        monkeypatch.setattr(bench.store, question, lambda *_, **__: pytest.fail("the database was asked"))
    for _ in range(3):
        bench.feed.tick()
        bench.metrics.text()


@pytest.mark.parametrize(
    ("end", "told", "outcome", "reason"),
    [
        ({"due": False}, "call_standard", "standard", "not_due"),
        ({"due": False, "code": "disk_full", "line": "no room"}, "call_fallback", "fallback", "disk_full"),
        ({"due": False, "code": "made_up_by_a_newer_worker"}, "call_fallback", "fallback", "other"),
        (None, "call_corrected", "corrected", "corrected"),
    ],
)
def test_a_call_is_told_of_from_its_beginning_to_one_of_three_ends(
    bench: Bench, end: dict[str, Any] | None, told: str, outcome: str, reason: str
) -> None:
    bench.start()
    hooks = [FakeHook([1]), FakeHook([2])]
    bench.sessions.call(hooks[0], call_frame([1]))
    bench.sessions.call(hooks[1], call_frame([2]))
    bench.feed.tick()
    (row,) = bench.news.rows(NewsTable.CALLS).values()
    assert (row["halves"], row["worker"]) == ({"1": "computing", "2": "computing"}, "worker-0")
    bench.clock.now += 7
    for half in (1, 2):
        bench.pool.standard(bench.pool.half(half), **({} if end is None else end))
    if end is None:
        bench.pool.corrected(bench.pool.only("correct"))
        for hook, half in zip(hooks, (1, 2), strict=True):
            frame = hook.last("corrected")
            bench.sessions.verified(hook, Verified(half=half, ticket=frame["ticket"]))
    assert bench.told(NewsTable.CALLS) == ["call_began", "call_changed", told]
    assert bench.news.rows(NewsTable.CALLS) == {}
    assert bench.news.rows(NewsTable.COUNTS)["calls"][outcome] == 1
    assert ("last" in bench.news.rows(NewsTable.FALLBACK)) is (outcome == "fallback")
    figures = bench.figures()
    assert figures[f"cryobridge_calls_total{{outcome={outcome},reason={reason}}}"] == 1
    assert figures[f"cryobridge_call_seconds_sum{{outcome={outcome}}}"] == 7
    assert figures.get(f"cryobridge_fallback_total{{reason={reason}}}", 0) == (outcome == "fallback")
    assert figures["cryobridge_fallback_total{reason=oom}"] == 0
    assert bench.feed.counts == bench.store.counts()


def test_a_refinement_is_told_of_when_it_calls_and_not_merely_because_time_goes_on(bench: Bench) -> None:
    bench.start()
    bench.sessions.call(FakeHook([1]), call_frame([1]))
    bench.feed.tick()
    row = bench.news.rows(NewsTable.REFINEMENTS)["/project/job001/run"]
    assert row["last_call_at"] == bench.clock()
    assert bench.figures()["cryobridge_session_count"] == 1
    for _ in range(5):
        bench.clock.now += 1.3
        bench.feed.tick()
    assert bench.told(NewsTable.REFINEMENTS) == ["refinement_changed"]
    bench.sessions.release("/project/job001/run")
    bench.feed.tick()
    assert bench.told(NewsTable.REFINEMENTS) == ["refinement_released"]


def test_workers_are_told_of_as_they_start_get_ready_end_and_are_replaced_between_two_looks(bench: Bench) -> None:
    bench.start()
    for change in (
        {"state": "ready"},
        {"rss_bytes": 200},
        {"rss_bytes": 17_000_000},
        {"state": "failed", "pid": None},
        {"state": "starting", "pid": 8},
        {"state": "ready"},
        {"state": "ready", "pid": 9},
    ):
        bench.worker.update(change)
        bench.feed.tick()
    assert bench.told(NewsTable.WORKERS) == [
        *("worker_ready", "worker_changed", "worker_ended", "worker_started", "worker_ready"),
        *("worker_ended", "worker_ready"),
    ]
    assert bench.figures()[f"cryobridge_worker_restarts_total{{device={GPU}}}"] == 2


def test_memory_of_devices_is_told_as_far_as_it_is_known(bench: Bench) -> None:
    bench.start()
    role = f"cryobridge_device_memory_bytes{{device={GPU},role="
    assert f"{role}total}}" not in bench.figures()
    bench.memory = {GPU: (80, 30)}
    bench.feed.tick()
    figures = bench.figures()
    assert (figures[f"{role}total}}"], figures[f"{role}free}}"]) == (80, 30)
    assert figures[f"{role}worker}}"] == 16 * 1024 * 1024


def test_health_and_drain_are_told(bench: Bench) -> None:
    bench.start()
    assert bench.figures()["cryobridge_ready"] == 1
    bench.health = Health(True, False, True, ["gpu"], ["a worker"])
    bench.feed.tick()
    bench.feed.tick()
    assert bench.told(NewsTable.HEALTH) == ["health_changed"]
    assert bench.told(NewsTable.DAEMON) == [], "its age is no news"
    figures = bench.figures()
    assert (figures["cryobridge_ready"], figures["cryobridge_degraded"], figures["cryobridge_up"]) == (0, 1, 1)


def test_no_user_path_message_or_foreign_word_becomes_a_label(bench: Bench) -> None:
    bench.start()
    bench.submit()
    task = bench.pool.only("job")
    failed = TaskFailed(task=task.id, code=ForeignCode("secret_code"), text="/people/anne/secret.mrc")
    bench.jobs.task_frame(task, failed)
    bench.store.add("secret.kind", {}, ME, job_id="x")
    bench.store.start("x")
    bench.store.fail("x", ForeignCode("secret_code"), "secret")
    bench.sessions.call(FakeHook([1]), call_frame([1], root="secret"))
    bench.pool.failed(bench.pool.half(1), "oom", "secret")
    bench.feed.tick()
    text = bench.metrics.text()
    assert "secret" not in text
    assert "_created" not in text
    assert bench.figures()["cryobridge_jobs_total{kind=other,reason=other,state=failed}"] == 1
    assert bench.figures()["cryobridge_build_info{version=1.2}"] == 1
