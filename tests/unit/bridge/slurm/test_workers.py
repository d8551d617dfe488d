"""The cluster behind the queue: refused where there is none, followed where there is one, found again, tidied up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_pool import FakePool
from support.fake_slurm import FakeSlurm

from cryobridge.bridge.queue.store import Store
from cryobridge.bridge.queue.submitted import JobQueue
from cryobridge.bridge.slurm.workers import SlurmWorkers
from cryobridge.schemas.config import Limits
from cryobridge.schemas.errors import InputInvalid, JobRejected
from cryobridge.schemas.slurm import SlurmConfig
from cryobridge.schemas.state import JobState

SPEC = {"schema": "cryobridge/job/1", "kind": "check", "output": "/o", "run": {"executor": "slurm"}}
ME = os.getuid()


class Cluster:
    """A queue with a pool that does nothing and a SLURM in memory; the daemon's clock ticks by itself."""

    def __init__(self, folder: Path, slurm: FakeSlurm, **config: Any) -> None:
        self.slurm = slurm
        loop = asyncio.get_running_loop()
        self.store = Store(folder / "jobs.sqlite")
        for job in self.store.recover():
            assert job.in_slurm
        self.pool = FakePool()
        # Any program that is there: whether it can be found is looked at before it is run.
        settings = SlurmConfig(**{"poll_s": 0.2, "submit": "sbatch", **config})
        self.workers = SlurmWorkers(loop, settings, folder, slurm.run)
        self.jobs = JobQueue(self.store, self.pool, Limits(), [], loop.time, ["cpu"], cluster=self.workers)
        self.jobs.on_end(self.workers.forget)
        self.jobs.resume()
        self.workers.tidy(self.store.get)

    async def until(self, is_so: Callable[[], object]) -> None:
        for _ in range(400):
            self.jobs.tick(asyncio.get_running_loop().time())
            if is_so():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("still not so")

    async def until_state(self, job_id: str, state: JobState) -> None:
        await self.until(lambda: self.state(job_id) is state)

    def state(self, job_id: str) -> JobState:
        job = self.store.get(job_id)
        assert job is not None
        return job.state

    def killed(self) -> None:
        """End as a daemon that is killed: nothing more is booked."""
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        self.store.close()


@pytest.fixture(autouse=True)
def sbatch_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "sbatch"
    program.parent.mkdir()
    program.touch(0o700)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


def test_a_job_for_slurm_goes_there_and_one_for_here_to_the_pool(tmp_path: Path) -> None:
    async def story() -> None:
        slurm = FakeSlurm()
        cluster = Cluster(tmp_path, slurm)
        cluster.jobs.submit({**SPEC, "run": {}}, ME)
        there = cluster.jobs.submit(SPEC, ME)
        await cluster.until(lambda: slurm.jobs)
        assert len(cluster.pool.tasks) == 1
        await cluster.until(lambda: cluster.jobs.progress(there.id))
        assert "waits" in cluster.jobs.progress(there.id).text
        assert cluster.state(there.id) is JobState.QUEUED
        slurm.begin(100)
        await cluster.until(lambda: cluster.state(there.id) is JobState.RUNNING)
        slurm.end(100)
        await cluster.until(lambda: cluster.state(there.id) is JobState.SUCCEEDED)
        await cluster.until(lambda: not list((tmp_path / "slurm").iterdir()))

    run(story)


@pytest.mark.parametrize("orderly", [True, False])
def test_however_often_the_daemon_ends_the_job_is_in_slurm_once_and_has_one_attempt(
    tmp_path: Path, orderly: bool
) -> None:
    async def story() -> None:
        slurm = FakeSlurm()
        cluster = Cluster(tmp_path, slurm)
        job_id = cluster.jobs.submit(SPEC, ME).id
        await cluster.until(lambda: slurm.jobs)
        slurm.begin(100)
        for _ in range(5):
            await cluster.until_state(job_id, JobState.RUNNING)
            if orderly:
                cluster.jobs.close()
            cluster.killed()
            cluster = Cluster(tmp_path, slurm)
        slurm.end(100)
        await cluster.until(lambda: cluster.state(job_id) is JobState.SUCCEEDED)
        assert cluster.store.get(job_id).attempts == 1
        assert list(slurm.jobs) == [100]

    run(story)


def test_a_lost_node_is_an_attempt(tmp_path: Path) -> None:
    async def story() -> None:
        slurm = FakeSlurm()
        cluster = Cluster(tmp_path, slurm)
        job_id = cluster.jobs.submit(SPEC, ME).id
        for number in (100, 101, 102):
            await cluster.until(lambda number=number: number in slurm.jobs)
            slurm.begin(number)
            await cluster.until(lambda: cluster.state(job_id) is JobState.RUNNING)
            slurm.jobs[number][0] = "NODE_FAIL"
        await cluster.until(lambda: cluster.state(job_id) is JobState.FAILED)
        assert "3 attempts" in cluster.store.get(job_id).text
        assert [job[1] for job in slurm.jobs.values()] == [f"cryobridge-{job_id}-{attempt}" for attempt in range(3)]

    run(story)


def test_a_deadline_ends_a_job_in_slurm_as_a_timeout(tmp_path: Path) -> None:
    async def story() -> None:
        slurm = FakeSlurm()
        cluster = Cluster(tmp_path, slurm)
        job_id = cluster.jobs.submit({**SPEC, "run": {"executor": "slurm", "deadline_s": 0.3}}, ME).id
        await cluster.until(lambda: slurm.jobs)
        slurm.begin(100)
        await cluster.until(lambda: (slurm.jobs[100][2] / "cancel").exists())
        slurm.end(100, ("cancelled", "cancelled on request"))
        await cluster.until(lambda: cluster.state(job_id) is JobState.FAILED)
        assert cluster.store.get(job_id).reason == "timeout"

    run(story)


def test_what_a_killed_daemon_left_of_a_cancelled_job_is_ended_by_the_next(tmp_path: Path) -> None:
    async def story() -> None:
        slurm = FakeSlurm()
        cluster = Cluster(tmp_path, slurm)
        job_id = cluster.jobs.submit(SPEC, ME).id
        await cluster.until(lambda: slurm.jobs)
        slurm.begin(100)
        await cluster.until(lambda: cluster.state(job_id) is JobState.RUNNING)
        cluster.store.request_abort(job_id)
        cluster.killed()
        cluster = Cluster(tmp_path, slurm)
        assert cluster.state(job_id) is JobState.CANCELLED
        await cluster.until(lambda: slurm.jobs[100][0] == "CANCELLED")

    run(story)


def test_a_job_that_the_queue_has_lost_is_left_to_run(tmp_path: Path) -> None:
    async def story() -> None:
        slurm = FakeSlurm()
        cluster = Cluster(tmp_path, slurm)
        cluster.jobs.submit(SPEC, ME)
        await cluster.until(lambda: slurm.jobs)
        slurm.begin(100)
        cluster.killed()
        for path in tmp_path.glob("jobs.sqlite*"):
            path.unlink()
        cluster = Cluster(tmp_path, slurm)
        await asyncio.sleep(0.3)
        assert slurm.jobs[100][0] == "RUNNING"
        assert slurm.jobs[100][2].exists()

    run(story)


def test_where_there_is_no_sbatch_the_job_is_refused_and_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        cluster = Cluster(tmp_path, FakeSlurm(), submit="no-such-sbatch")
        with pytest.raises(JobRejected, match="there is no no-such-sbatch on this machine"):
            cluster.jobs.submit(SPEC, ME)
        assert cluster.store.open_jobs() == 0

    run(story)


def test_a_template_with_a_mistake_refuses_the_job(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "own").write_text("#!/bin/sh\n{{ comand }}\n")
        cluster = Cluster(tmp_path, FakeSlurm(), template=tmp_path / "own")
        with pytest.raises(InputInvalid, match="did you mean"):
            cluster.jobs.submit(SPEC, ME)

    run(story)
