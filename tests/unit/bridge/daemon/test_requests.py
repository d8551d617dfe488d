"""Requests and jobs without processes: who may see and cancel what, and what a full or broken disk means."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_pool import FakeHook, FakeLedger, call_frame
from support.request_bench import FRIEND, ME, STRANGER, NotingAsker, RequestBench

from cryobridge.bridge.daemon.health import Health, judge
from cryobridge.bridge.queue.store import RELION_KIND, StoreUnavailable
from cryobridge.bridge.refinements.ledger import Books
from cryobridge.schemas import bounds
from cryobridge.schemas.errors import JobRejected
from cryobridge.schemas.state import JobState
from cryobridge.schemas.worker_messages import JobDone, TaskProgress


@pytest.fixture
def bench() -> Iterator[RequestBench]:
    # In memory where possible: what reaches the disk is the store's own tests' business.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="cb-", dir=memory) as folder:
        bench = RequestBench(Path(folder), jobs=4)
        yield bench
        bench.store.close()
        bench.loop.close()


def test_the_beginning_of_an_id_names_a_job_of_the_askers_and_of_no_other(bench: RequestBench) -> None:
    for job_id in ("abcdef0123", "abcdef0199"):
        bench.store.add("map.fsc3d", bench.spec(), FRIEND, job_id=job_id)
    bench.store.add("map.fsc3d", bench.spec(), STRANGER, job_id="abcdef01ff")
    assert bench.ask(FRIEND, "logs", job_id="abcdef012")["job_id"] == "abcdef0123"
    assert bench.ask(STRANGER, "logs", job_id="abcdef01")["job_id"] == "abcdef01ff"
    for start in ("abcdef01", "abcdef", "", "%"):
        assert bench.ask(FRIEND, "logs", job_id=start)["type"] == "error"


def test_owners_and_the_daemons_user_see_a_job_and_others_learn_nothing_of_it(bench: RequestBench) -> None:
    job_id = bench.store.add("map.fsc3d", bench.spec(), FRIEND).id
    for uid in (FRIEND, ME):
        assert bench.ask(uid, "logs", job_id=job_id)["type"] == "reply"
        assert [job["job_id"] for job in bench.ask(uid, "jobs", limit=5)["jobs"]] == [job_id]
    for kind in ("logs", "cancel", "wait"):
        reply = bench.ask(STRANGER, kind, job_id=job_id, timeout_s=0)
        unknown = bench.ask(STRANGER, kind, job_id="0" * 12, timeout_s=0)
        assert reply["code"] == unknown["code"] == "input_invalid"
        assert reply["text"].replace(job_id, "") == unknown["text"].replace("0" * 12, "")
    assert bench.ask(STRANGER, "jobs", limit=5)["jobs"] == []
    assert bench.ask(STRANGER, "status")["queue"]["queued"] == 1


def test_strangers_see_counts_of_refinements_but_no_paths_and_cannot_stop_anything(bench: RequestBench) -> None:
    hook = FakeHook([1], FRIEND)
    bench.sessions.call(hook, call_frame([1]))
    bench.pool.failed(bench.pool.half(1))
    status = bench.ask(STRANGER, "status")
    assert "/project" not in str(status)
    assert status["queue"]["failed"] == 1
    assert "/project" in str(bench.ask(FRIEND, "status"))
    session = bench.ask(FRIEND, "ps")["sessions"][0]["session"]
    assert bench.ask(STRANGER, "release", session=session)["type"] == "error"
    for kind in ("stop", "drain", "prepare"):
        assert bench.ask(STRANGER, kind, session="/a/run")["code"] == "rejected"
    assert bench.done == []
    assert bench.ask(ME, "stop")["ok"]
    assert bench.done == ["stop"]


@pytest.mark.parametrize("uid", [FRIEND, STRANGER, 0])
def test_a_job_of_another_user_is_not_taken_whatever_it_names(bench: RequestBench, uid: int) -> None:
    bench.jobs._own_uid = 990
    reply = bench.ask(uid, "submit", spec=bench.spec())
    assert reply["code"] == "rejected"
    assert "runs as another user" in reply["text"]
    assert bench.store.open_jobs() == 0


def test_the_queue_is_bounded(bench: RequestBench) -> None:
    assert [bench.ask(ME, "submit", spec=bench.spec())["type"] for _ in range(5)] == [*["reply"] * 4, "error"]


def test_a_repeated_request_gives_the_same_job_and_runs_once(bench: RequestBench) -> None:
    first = bench.ask(ME, "submit", spec=bench.spec(request_id="abc"))
    second = bench.ask(ME, "submit", spec=bench.spec(request_id="abc"))
    assert first["job_id"] == second["job_id"]
    assert len(bench.pool.tasks) == 1


def test_a_job_without_a_name_is_given_one_so_that_its_next_attempt_knows_its_result(bench: RequestBench) -> None:
    jobs = [bench.ask(ME, "submit", spec=bench.spec())["job_id"] for _ in range(2)]
    handed = {task.frame.job_id: task.frame.spec["run"]["request_id"] for task in bench.pool.tasks.values()}
    stored = {job: bench.store.get(job).spec["run"]["request_id"] for job in jobs}
    assert handed == stored
    assert len({*stored.values(), None}) == 3


def test_a_job_that_cannot_be_stored_is_not_acknowledged(bench: RequestBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("jobs.sqlite: database or disk is full")

    monkeypatch.setattr(bench.store, "add", full)
    reply = bench.ask(ME, "submit", spec=bench.spec())
    assert (reply["type"], reply["code"]) == ("error", "store")
    assert "jobs.sqlite" in reply["text"]
    others = bench.submit_as(FRIEND, bench.spec())
    assert (others["code"], "sqlite" in others["text"]) == ("store", False)
    assert bench.pool.tasks == {}


def test_a_full_disk_under_the_database_does_not_touch_a_refinement(
    bench: RequestBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("jobs.sqlite: database or disk is full")

    monkeypatch.setattr(bench.store, "add", full)
    hook = FakeHook([1])
    bench.sessions.call(hook, call_frame([1]))
    bench.pool.standard(bench.pool.half(1), due=False)
    assert hook.terminal()[0]["code"] == "not_due"
    assert "disk is full" in str(bench.books.problem)


def test_an_iteration_whose_beginning_was_booked_only_in_part_does_no_harm(
    bench: RequestBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("jobs.sqlite: database or disk is full")

    monkeypatch.setattr(bench.store, "start", full)
    hook = FakeHook([1])
    bench.sessions.call(hook, call_frame([1]))
    bench.pool.standard(bench.pool.half(1), due=False)
    assert hook.terminal()[0]["code"] == "not_due"


def test_iterations_are_booked_as_jobs_with_their_end(bench: RequestBench) -> None:
    hook = FakeHook([0])
    bench.sessions.call(hook, call_frame([0]))
    bench.pool.standard(bench.pool.half(0), due=False, code="no_half_sets", line="no half-sets")
    (job,) = bench.store.newest(5)
    assert (job.kind, job.state, job.text) == (RELION_KIND, JobState.SUCCEEDED, "no half-sets")
    assert job.result == {"used": "standard", "code": "no_half_sets", "metrics": {}}


def test_status_tells_of_a_disk_without_room_and_the_iteration_is_booked_as_failed(bench: RequestBench) -> None:
    bench.sessions.call(FakeHook([1]), call_frame([1]))
    bench.pool.standard(bench.pool.half(1), due=False, code="disk_full", line="there is no room on the disk")
    status = json.loads(json.dumps(bench.ask(ME, "status")))
    assert (status["last_fallback"]["code"], status["last_fallback"]["iteration"]) == ("disk_full", 5)
    assert status["sessions"][0]["failed"] == 1
    (job,) = bench.store.newest(5)
    assert (job.state, job.reason) == (JobState.FAILED, "disk_full")


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ({"type": "make coffee"}, "rejected", "there is no request 'make coffee'"),
        ({"type": "logs"}, "input_invalid", "logs: 'job_id' is missing"),
        ({"type": "wait", "job_id": 5}, "input_invalid", "wait: 'job_id' must be a text"),
        ({"type": "submit", "spec": []}, "input_invalid", "submit: 'spec' must be an object"),
        ({"type": "release", "session": "run"}, "input_invalid", "'session' must be the job folder and output root"),
    ],
)
def test_a_request_that_cannot_be_read_is_told_why(
    bench: RequestBench, message: dict[str, Any], code: str, text: str
) -> None:
    asker = NotingAsker(ME)
    bench.requests.handle(asker, message)
    (reply,) = asker.sent
    assert (reply["type"], reply["ok"], reply["code"]) == ("error", False, code)
    assert text in reply["text"]


def test_a_refinement_can_be_announced_before_it_calls(bench: RequestBench) -> None:
    assert bench.ask(ME, "prepare", session="/project/job001/run", box=64)["session"] == "/project/job001/run"
    assert bench.pool.prepared == ["/project/job001/run"]


def test_cancelling_a_running_iteration_is_open_to_its_owner(bench: RequestBench) -> None:
    hook = FakeHook([1], FRIEND)
    bench.sessions.call(hook, call_frame([1]))
    (job,) = bench.store.newest(5)
    assert bench.ask(STRANGER, "cancel", job_id=job.id)["type"] == "error"
    assert bench.ask(FRIEND, "cancel", job_id=job.id)["state"] == "cancelled"
    bench.pool.standard(bench.pool.half(1))
    assert hook.terminal()[0]["code"] == "cancelled"


def test_a_waiting_client_gets_beats_progress_and_one_reply(bench: RequestBench) -> None:
    job_id = bench.ask(ME, "submit", spec=bench.spec())["job_id"]
    asker = NotingAsker(ME)
    bench.requests.handle(asker, {"type": "wait", "job_id": job_id, "timeout_s": 60})
    bench.clock.now += 4
    bench.requests.tick(bench.clock.now)
    task = bench.job_task()
    bench.jobs.task_frame(task, TaskProgress(task=task.id, text="half way", fraction=0.5))
    bench.requests.tick(bench.clock.now)
    bench.jobs.task_frame(task, JobDone(task=task.id, result={"x": 1}))
    assert [message["type"] for message in asker.sent] == ["heartbeat", "progress", "reply"]
    assert asker.sent[-1]["state"] == "succeeded"
    bench.requests.tick(bench.clock.now + 100)
    assert len(asker.sent) == 3


def test_a_client_that_left_is_not_written_to(bench: RequestBench) -> None:
    job_id = bench.ask(ME, "submit", spec=bench.spec())["job_id"]
    asker = NotingAsker(ME)
    bench.requests.handle(asker, {"type": "wait", "job_id": job_id, "timeout_s": 60})
    bench.requests.gone(asker)
    task = bench.job_task()
    bench.jobs.task_frame(task, JobDone(task=task.id, result={}))
    assert asker.sent == []


@pytest.mark.parametrize("message", [{"limit": 0}, {"limit": "many"}, {"limit": True}, {"limit": 10**9}])
def test_a_limit_out_of_range_is_refused(bench: RequestBench, message: dict[str, Any]) -> None:
    assert bench.ask(ME, "jobs", **message)["code"] == "input_invalid"


def test_a_job_for_a_device_that_has_gone_meanwhile_fails_at_the_next_start(bench: RequestBench) -> None:
    job = bench.store.add("map.fsc3d", bench.spec(devices="gpu"), ME)
    bench.jobs.resume()
    stored = bench.store.get(job.id)
    assert stored is not None
    assert (stored.state, stored.reason) == (JobState.FAILED, "rejected")
    with pytest.raises(JobRejected):
        bench.jobs.submit(bench.spec(devices="gpu"), ME)


def test_health_says_what_is_wrong() -> None:
    well = {
        "accepting": True,
        "worker_problem": None,
        "workers_broken": False,
        "store_problem": None,
        "socket_ours": True,
    }
    assert judge(**well) == Health(live=True, ready=True, degraded=False, problems=[])
    full = judge(**{**well, "store_problem": "/srv/state: disk full"})
    assert (full.ready, full.degraded, full.problems) == (True, True, ["/srv/state: disk full"])
    assert full.public == ["the job database cannot be written at the moment"]
    assert not judge(**{**well, "workers_broken": True}).ready
    assert not judge(**{**well, "accepting": False}).ready
    assert not judge(**{**well, "socket_ours": False}).ready


def test_fake_ledger_and_books_take_the_same_calls() -> None:
    assert {name for name in vars(FakeLedger) if name.endswith("iteration")} == {
        name for name in vars(Books) if name.endswith("iteration")
    }


def test_one_connection_waits_for_a_few_jobs_at_once(bench: RequestBench) -> None:
    job_id = bench.store.add("map.fsc3d", bench.spec(), FRIEND).id
    greedy, other = NotingAsker(FRIEND), NotingAsker(FRIEND)
    for _ in range(bounds.MAX_WAITS):
        bench.requests.handle(greedy, {"type": "wait", "job_id": job_id})
    assert greedy.sent == []
    bench.requests.handle(greedy, {"type": "wait", "job_id": job_id})
    assert [(one["type"], one["code"]) for one in greedy.sent] == [("error", "rejected")]
    bench.requests.handle(other, {"type": "wait", "job_id": job_id})
    assert other.sent == []
    bench.requests.gone(greedy)
    bench.requests.handle(greedy, {"type": "wait", "job_id": job_id})
    assert len(greedy.sent) == 1


def test_what_becomes_of_jobs_and_iterations_on_a_full_disk_is_booked_when_there_is_room(
    bench: RequestBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[str] = []
    bench.jobs.on_end(ends.append)
    done, lost = (bench.ask(ME, "submit", spec=bench.spec())["job_id"] for _ in range(2))
    tasks = {task.frame.job_id: task for task in bench.pool.tasks.values()}

    def full() -> None:
        raise StoreUnavailable("jobs.sqlite: database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "together", full)
        bench.jobs.task_frame(tasks[done], JobDone(task=tasks[done].id, result={"n": 1}))
        bench.jobs.task_lost(tasks[lost], "worker_died", "the worker was killed")
        bench.sessions.call(FakeHook([1]), call_frame([1]))
        bench.pool.standard(bench.pool.half(1), due=False)
        for problem in (bench.jobs.problem, bench.books.problem):
            assert "disk is full" in str(problem)
        assert (ends, bench.jobs.busy) == ([], False), "a broken disk must not keep a daemon for ever"
    bench.clock.now += 5
    bench.jobs.tick(bench.clock())
    bench.books.tick(bench.clock.now + 1e9)
    assert (ends, bench.jobs.problem, bench.books.problem) == ([done], None, None)
    assert bench.store.get(done).result == {"n": 1}
    again = bench.store.get(lost)
    assert (again.state, again.attempts) == (JobState.RUNNING, 2), "it is handed over again"
    (iteration,) = [job for job in bench.store.newest(9) if job.kind == RELION_KIND]
    assert iteration.state is JobState.SUCCEEDED
