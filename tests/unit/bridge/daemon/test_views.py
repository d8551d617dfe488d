"""What owners, operators and strangers are told of a daemon, and what they may do to it."""

from __future__ import annotations

import grp
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_pool import FakeHook, call_frame
from support.request_bench import FRIEND, ME, STRANGER, NotingAsker, RequestBench

from cryobridge.bridge.daemon.health import judge
from cryobridge.schemas.worker_messages import JobDone, TaskProgress

OPERATOR = 54399


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[RequestBench]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="cb-", dir=memory) as folder:
        bench = RequestBench(Path(folder), [grp.getgrgid(os.getgid()).gr_name])
        monkeypatch.setattr(bench.rights, "_is_operator", lambda uid: uid == OPERATOR)
        bench.health = judge(
            accepting=True,
            worker_problem="worker-0 (cpu): ended; its last words: /people/friend/secret.mrc: no such file",
            workers_broken=False,
            store_problem="/srv/secret/jobs.sqlite: disk full",
            socket_ours=True,
            incidents=["jobs of secret were lost (read and remove /srv/secret/x.txt)"],
        )
        yield bench
        bench.store.close()
        bench.loop.close()


def busy(bench: RequestBench) -> str:
    """A refinement that had a fallback, a job that runs, and one that has ended, all of one user."""
    hook = FakeHook([1], FRIEND)
    bench.sessions.call(hook, call_frame([1], root="secret_run"))
    bench.pool.failed(bench.pool.half(1), text="no memory for secret")
    bench.sessions.call(FakeHook([1], FRIEND), call_frame([1], root="secret_run", iteration=6))
    done = bench.submit_as(FRIEND, bench.spec())["job_id"]
    task = bench.job_task()
    bench.jobs.task_frame(task, JobDone(task=task.id, result={}))
    del bench.pool.tasks[task.id]
    bench.submit_as(FRIEND, bench.spec())
    task = bench.job_task()
    bench.jobs.task_frame(task, TaskProgress(task=task.id, text="secret: reading", fraction=0.1))
    bench.feed.tick()
    return done


def test_a_stranger_learns_nothing_of_anybodys_work_files_or_processes(bench: RequestBench) -> None:
    busy(bench)
    for kind in ("status", "ps", "jobs", "follow", "metrics"):
        said = str(bench.ask(STRANGER, kind))
        for word in ("secret", "/project", "/srv", "/people", "pid", "state_dir", str(FRIEND), str(bench.folder)):
            assert word not in said, (kind, word)
    status = bench.ask(STRANGER, "status")
    assert set(status) == {
        *("type", "ok", "state", "version", "uptime_s", "workers", "health", "sessions", "queue", "last_fallback"),
    }
    assert status["workers"] == [
        {**dict.fromkeys(("name", "device", "device_name"), "x"), "state": "ready", "busy": True}
    ]
    assert (status["sessions"], status["last_fallback"]) == ([], None)
    assert status["health"]["degraded"]
    assert len(status["health"]["problems"]) == 3
    assert (status["queue"]["failed"], status["queue"]["running"], status["queue"]["succeeded"]) == (1, 2, 1)
    assert bench.ask(STRANGER, "config")["code"] == "rejected"


@pytest.mark.parametrize("uid", [ME, OPERATOR])
def test_operators_see_all_of_it(bench: RequestBench, uid: int) -> None:
    done = busy(bench)
    status = bench.ask(uid, "status")
    assert "secret.mrc" in str(status["health"])
    assert status["socket"] == "/run/secret"
    assert status["last_fallback"]["line"].endswith("no memory for secret")
    assert [row["kind"] for row in bench.ask(uid, "ps")["processes"]] == ["relion.reconstruct", "map.fsc3d"]
    assert done in [job["job_id"] for job in bench.ask(uid, "jobs")["jobs"]]
    assert bench.ask(uid, "jobs", mine=True)["jobs"] == []
    tables = bench.ask(uid, "follow", once=True)["tables"]
    assert [row["uid"] for row in (*tables["jobs"].values(), *tables["calls"].values())] == [FRIEND, FRIEND]
    assert bench.ask(uid, "config")["settings"]["socket"]["value"] == "/run/secret"


def test_an_owner_sees_his_own_and_only_that(bench: RequestBench) -> None:
    busy(bench)
    bench.submit_as(STRANGER, bench.spec())
    bench.feed.tick()
    mine = bench.ask(FRIEND, "follow", once=True)["tables"]
    assert {row["uid"] for table in ("jobs", "calls", "refinements", "fallback") for row in mine[table].values()} == {
        FRIEND
    }
    assert mine["counts"]["jobs"]["running"] + mine["counts"]["jobs"]["queued"] == 3
    assert [row["progress"] for row in bench.ask(FRIEND, "ps")["processes"][1:]] == [
        {"text": "secret: reading", "fraction": 0.1}
    ]


def test_operators_cancel_drain_resume_and_unload_and_others_do_not(bench: RequestBench) -> None:
    busy(bench)
    job = next(row for row in bench.ask(OPERATOR, "ps")["processes"] if row["kind"] == "map.fsc3d")
    session = bench.ask(OPERATOR, "ps")["sessions"][0]["session"]
    deeds: list[tuple[str, dict[str, Any]]] = [
        ("cancel", {"job_id": job["job_id"]}),
        ("drain", {}),
        ("resume", {}),
        ("release", {"session": session}),
    ]
    for kind, fields in deeds:
        assert bench.ask(STRANGER, kind, **fields)["type"] == "error", kind
    assert bench.done == []
    for kind, fields in deeds:
        assert bench.ask(OPERATOR, kind, **fields)["type"] == "reply", kind
    assert bench.done == ["drain", "resume"]
    assert bench.pool.released == [session]
    assert bench.store.get(job["job_id"]).abort_requested


def test_an_operator_neither_ends_the_daemon_nor_makes_it_open_files(bench: RequestBench) -> None:
    assert bench.ask(OPERATOR, "stop")["code"] == "rejected"
    assert bench.ask(OPERATOR, "prepare", session="/a/run", mask="/etc/shadow")["code"] == "rejected"
    assert (bench.done, bench.pool.prepared) == ([], [])


def test_a_refinement_is_let_go_by_the_name_its_owner_knows_or_the_one_that_ps_shows(bench: RequestBench) -> None:
    for name in ("/project/job001/run", f"{FRIEND}:/project/job001/run"):
        bench.sessions.call(FakeHook([1], FRIEND), call_frame([1]))
        assert bench.ask(STRANGER, "release", session=name)["type"] == "error"
        assert bench.ask(FRIEND, "release", session=name)["released"]
        assert bench.ask(FRIEND, "release", session=name)["type"] == "error"


def test_jobs_are_listed_by_state_and_kind_as_many_as_were_asked_for(bench: RequestBench) -> None:
    for _ in range(3):
        bench.store.add("map.fsc3d", {}, FRIEND)
        bench.store.add("map.whiten", {}, STRANGER)
    bench.store.start(bench.store.add("map.fsc3d", {}, FRIEND, job_id="r").id)
    assert len(bench.ask(FRIEND, "jobs", limit=3)["jobs"]) == 3, "others' jobs take nobody's room"
    assert [job["job_id"] for job in bench.ask(FRIEND, "jobs", state="running")["jobs"]] == ["r"]
    assert {job["kind"] for job in bench.ask(ME, "jobs", kind="map.whiten")["jobs"]} == {"map.whiten"}
    assert bench.ask(FRIEND, "jobs", kind="map.whiten")["jobs"] == []


def test_a_follower_is_told_until_it_leaves(bench: RequestBench) -> None:
    asker = NotingAsker(FRIEND)
    bench.requests.handle(asker, {"type": "follow"})
    bench.submit_as(FRIEND, bench.spec())
    bench.requests.gone(asker)
    bench.submit_as(FRIEND, bench.spec())
    assert [frame.get("what", frame["type"]) for frame in asker.sent] == ["snapshot", "job_queued"]
    for _ in range(20):
        once = NotingAsker(FRIEND)
        bench.requests.handle(once, {"type": "follow", "once": True})
        assert [frame["type"] for frame in once.sent] == ["snapshot"]
