"""A user's own daemon and its devices: jobs begin when they are granted one, and do as they are told."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from support.fake_pool import Clock
from support.fake_process import FakeProcess, NotingOwner, settle

from cryobridge.bridge.leases.leased_workers import MOST_ASKED, LeasedWorkers
from cryobridge.bridge.pool.lent import KEEP_ALIVE_S, LentPool
from cryobridge.bridge.pool.place import Task
from cryobridge.bridge.pool.scheduler import Priority
from cryobridge.schemas.codes import Code
from cryobridge.schemas.config import Deadlines
from cryobridge.schemas.leases import AskDevice
from cryobridge.schemas.worker_messages import JobDone, JobTask, TaskFailed, TaskProgress


class NotingLandlord:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.asked: list[AskDevice] = []
        self.given_back: list[str] = []
        self.aside: list[str] = []

    def ask(self, frame: AskDevice) -> None:
        self.asked.append(frame)

    def give_back(self, lease: str) -> None:
        self.given_back.append(lease)

    def stood_aside(self, lease: str) -> None:
        self.aside.append(lease)


class Bench:
    def __init__(self, folder: Path) -> None:
        loop = asyncio.get_running_loop()
        self.clock = Clock()
        self.started: list[FakeProcess] = []
        self.owner = NotingOwner()
        self.landlord = NotingLandlord()
        self.workers = LeasedWorkers(loop)
        self.pool = LentPool(loop, Deadlines(), folder, on_left=self.workers.left, spawn=self._spawn, clock=self.clock)
        self.workers.pool = self.pool
        self.workers.landlord = self.landlord  # type: ignore[assignment]

    def _spawn(self, device: str, sock: socket.socket, log: Path) -> FakeProcess:
        self.started.append(FakeProcess(device, sock))
        return self.started[-1]

    async def submit(self, name: str, priority: Priority = Priority.BATCH, **run: Any) -> Task:
        frame = JobTask(task=name, job_id=name, spec={"kind": "map.fsc3d", "run": run})
        task = Task(name, frame, self.owner, priority)
        self.workers.submit(task)
        asked = len(self.landlord.asked)
        for _ in range(200):
            if len(self.landlord.asked) > asked or asked >= MOST_ASKED:
                break
            await asyncio.sleep(0.005)  # what it wants is found out in a thread
        return task

    def lease(self, index: int = -1) -> str:
        return self.landlord.asked[index].lease

    async def begun(self, name: str = "a", **run: Any) -> tuple[Task, FakeProcess]:
        """A job that is at work on its device."""
        task = await self.submit(name, **run)
        self.workers.granted(self.lease(), "cpu")
        worker = self.started[-1]
        worker.say("ready", device="cpu", device_name="fake")
        await settle()
        assert [one["type"] for one in worker.heard()] == ["job"]
        return task, worker

    async def done(self, worker: FakeProcess, name: str) -> None:
        worker.say("done", task=name, result={})
        await settle()


def on_loop(test: Callable[[Bench], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        async def body() -> None:
            bench = Bench(tmp_path)
            try:
                await test(bench)
            finally:
                bench.pool.kill()
                for worker in bench.started:
                    worker.channel.close()

        asyncio.run(body())

    run.__name__ = test.__name__
    return run


@on_loop
async def test_a_job_begins_when_it_is_granted_a_device_and_gives_it_back_at_its_end(bench: Bench) -> None:
    await bench.submit("a", devices="0", priority="interactive")
    assert (bench.started, bench.landlord.asked[0].devices) == ([], "0")
    task, worker = await bench.begun("b")
    await bench.done(worker, "b")
    assert isinstance(bench.owner.frames[-1], JobDone)
    assert bench.landlord.given_back == [bench.landlord.asked[1].lease]
    assert task.worker == "lent-0"


@on_loop
async def test_the_next_job_on_a_device_finds_the_worker_and_an_idle_worker_ends(bench: Bench) -> None:
    _, worker = await bench.begun("a")
    await bench.done(worker, "a")
    await bench.submit("b")
    bench.workers.granted(bench.lease(), "cpu")
    await settle()
    assert len(bench.started) == 1
    await bench.done(worker, "b")
    worker.say("heartbeat")
    await settle()
    bench.clock.now += KEEP_ALIVE_S + 1
    bench.pool.tick()
    assert worker.signals == [signal.SIGKILL]
    await bench.submit("c")
    bench.workers.granted(bench.lease(), "cpu")
    assert [place.name for place in bench.pool.workers] == ["lent-0"], "its place is used again"
    assert len(bench.started) == 2


@on_loop
async def test_two_jobs_on_one_device_have_a_worker_each(bench: Bench) -> None:
    await bench.begun("a")
    bench.workers.leave(bench.lease())
    await bench.begun("b")
    assert [place.name for place in bench.pool.workers] == ["lent-0", "lent-1"]


@on_loop
async def test_a_job_leaves_its_device_and_comes_back(bench: Bench) -> None:
    _, worker = await bench.begun()
    bench.workers.leave(bench.lease())
    assert [one["type"] for one in worker.heard()] == ["leave_device"]
    assert bench.landlord.aside == [], "only when it has"
    assert isinstance(bench.owner.frames[-1], TaskProgress)
    worker.say("device_left")
    await settle()
    assert bench.landlord.aside == [bench.lease()]
    bench.workers.go_on(bench.lease())
    assert [one["type"] for one in worker.heard()] == ["come_back"]


@on_loop
async def test_one_that_is_wanted_back_before_it_has_left_comes_back_at_once(bench: Bench) -> None:
    _, worker = await bench.begun()
    bench.workers.leave(bench.lease())
    bench.workers.go_on(bench.lease())
    assert [one["type"] for one in worker.heard()] == ["leave_device"]
    worker.say("device_left")
    await settle()
    assert [one["type"] for one in worker.heard()] == ["come_back"]
    assert bench.landlord.aside == []


@on_loop
async def test_one_whose_worker_still_starts_leaves_at_once_and_begins_when_it_may(bench: Bench) -> None:
    await bench.submit("a")
    bench.workers.granted(bench.lease(), "cpu")
    bench.workers.leave(bench.lease())
    assert bench.landlord.aside == [bench.lease()]
    worker = bench.started[-1]
    worker.say("ready", device="cpu", device_name="fake")
    await settle()
    assert worker.heard() == []
    bench.workers.go_on(bench.lease())
    assert "job" in [one["type"] for one in worker.heard()]


@on_loop
async def test_a_job_that_waits_is_cancelled_at_once_and_one_that_stands_aside_without_its_device(bench: Bench) -> None:
    task = await bench.submit("a")
    bench.workers.cancel(task, detach=False)
    assert bench.owner.lost == [("a", Code.CANCELLED, "cancelled before it started")]
    assert bench.landlord.given_back == [bench.lease()]
    task, worker = await bench.begun("b")
    bench.workers.leave(bench.lease())
    worker.say("device_left")
    await settle()
    worker.heard()
    bench.workers.cancel(task, detach=False)
    assert [one["type"] for one in worker.heard()] == ["cancel", "come_back"]
    worker.say("failed", task="b", code="cancelled", text="cancelled on request")
    await settle()
    assert isinstance(bench.owner.frames[-1], TaskFailed)


@on_loop
async def test_without_the_landlord_all_jobs_leave_and_with_the_next_one_ask_for_the_same_devices(bench: Bench) -> None:
    _, worker = await bench.begun("a")
    await bench.submit("b")
    bench.workers.lost()
    assert [one["type"] for one in worker.heard()] == ["leave_device"]
    bench.landlord.asked.clear()
    bench.workers.found()
    assert [(one.lease, one.held) for one in bench.landlord.asked] == [("lease-0", "cpu"), ("lease-1", None)]


@on_loop
async def test_a_job_that_gets_no_device_fails_and_one_that_has_lost_it_loses_its_worker(bench: Bench) -> None:
    await bench.submit("a")
    bench.workers.refused(bench.lease(), Code.REJECTED, "there is no GPU")
    assert bench.owner.frames == [TaskFailed(task="a", code=Code.REJECTED, text="there is no GPU")]
    await bench.begun("b")
    bench.workers.refused(bench.lease(), Code.STALLED, "did not leave the device in 60 s")
    assert [name for name, *_ in bench.owner.lost] == ["b"]
    assert bench.started[-1].poll() is not None


@on_loop
async def test_only_so_many_devices_are_asked_for_at_once_and_urgent_ones_first(bench: Bench) -> None:
    for number in range(MOST_ASKED + 1):
        await bench.submit(f"j{number}")
    await bench.submit("quick", Priority.INTERACTIVE)
    await asyncio.sleep(0.1)
    assert len(bench.landlord.asked) == MOST_ASKED
    bench.workers.refused(bench.lease(0), Code.REJECTED, "no")
    assert bench.landlord.asked[-1].priority == "interactive"


@on_loop
async def test_while_no_jobs_are_begun_no_device_is_asked_for(bench: Bench) -> None:
    bench.pool.begins_jobs = False
    await bench.submit("a")
    assert bench.landlord.asked == []
    bench.pool.begins_jobs = True
    bench.workers.ask_more()
    assert [one.lease for one in bench.landlord.asked] == ["lease-0"]


@pytest.mark.parametrize("word", ["granted", "leave", "go_on", "refused"])
def test_a_word_on_a_lease_that_is_over_is_passed_over(word: str, tmp_path: Path) -> None:
    async def body() -> None:
        bench = Bench(tmp_path)
        more = {"granted": ("cpu",), "refused": (Code.STALLED, "late")}.get(word, ())
        getattr(bench.workers, word)("lease-99", *more)
        assert (bench.started, bench.owner.lost) == ([], [])

    asyncio.run(body())
