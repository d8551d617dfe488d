"""The pool with processes made of thin air: silence, death, back-off, cancel, idleness, all on a clock by hand."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from support.fake_pool import Clock, open_descriptors
from support.fake_process import FakeProcess, NotingOwner, settle

from cryobridge.bridge.pool.place import BROKEN_AFTER, Task
from cryobridge.bridge.pool.pool import Pool
from cryobridge.bridge.pool.scheduler import Priority
from cryobridge.schemas.config import Deadlines
from cryobridge.schemas.worker_messages import HalfTask, JobTask

MADE = {"half": 1, "size": 10, "crc32": 1, "due": True}
"""What a worker says of a standard map."""


class Bench:
    def __init__(
        self, folder: Path, devices: tuple[str, ...] = ("cpu",), keep_alive_s: float = -1, up_s: float = 0.0
    ) -> None:
        self.clock = Clock()
        self.clock.now += up_s
        self.started: list[FakeProcess] = []
        self.pool = Pool(
            asyncio.get_running_loop(),
            devices,
            Deadlines(),
            folder,
            keep_alive_s=keep_alive_s,
            spawn=self.spawn,
            clock=self.clock,
        )
        self.owner = NotingOwner()
        self.cannot_start = False

    def spawn(self, device: str, sock: socket.socket, log: Path) -> FakeProcess:
        if self.cannot_start:
            raise FileNotFoundError(2, "No such file or directory")
        self.started.append(FakeProcess(device, sock))
        return self.started[-1]

    async def ready(self) -> FakeProcess:
        worker = self.started[-1]
        worker.say("ready", device=worker.device, device_name="fake")
        await settle()
        return worker

    async def later(self, seconds: float) -> None:
        self.clock.now += seconds
        self.pool.tick()
        await settle()

    async def beats(self, worker: FakeProcess, seconds: int, **said: Any) -> None:
        """Time passes, and the worker shows a sign of life in every second of it."""
        for _ in range(seconds):
            worker.say("heartbeat", **said)
            await settle()
            await self.later(1)

    def call(self, name: str, session: str | None = "s") -> Task:
        return Task(
            name,
            HalfTask(task=name, session="s", iteration=1, half=1, number=1, kind="class", fd_names=("mask",)),
            self.owner,
            Priority.CALL,
            session=session,
            fds=[os.open(os.devnull, os.O_RDONLY)],
        )

    def job(self, name: str) -> Task:
        return Task(name, JobTask(task=name, job_id=name, spec={}), self.owner, Priority.BATCH)

    def close(self) -> None:
        self.pool.kill()
        for worker in self.started:
            worker.channel.close()


def on_loop(**options: Any) -> Callable[[Callable[[Bench], Coroutine[Any, Any, None]]], Callable[[Path], None]]:
    """Run a test on a fresh loop with a started pool; no descriptor may stay open."""

    def decorate(test: Callable[[Bench], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
        def run(tmp_path: Path) -> None:
            async def checked() -> None:
                before = open_descriptors()
                bench = Bench(tmp_path, **options)
                bench.pool.start()
                await test(bench)
                bench.close()
                assert open_descriptors() == before

            asyncio.run(checked())

        return run

    return decorate


@on_loop()
async def test_a_call_waits_for_the_workers_start_and_then_goes_with_its_descriptors(bench: Bench) -> None:
    bench.pool.submit(bench.call("a"))
    assert bench.started[-1].heard() == []
    worker = await bench.ready()
    assert [(frame["task"], frame["n_fds"]) for frame in worker.heard()] == [("a", 1)]
    worker.say("standard", task="a", **MADE)
    await settle()
    assert [frame.type for frame in bench.owner.frames] == ["standard"]


@on_loop()
async def test_silence_ends_a_worker_and_everything_it_had_is_lost(bench: Bench) -> None:
    worker = await bench.ready()
    busy, kept = bench.call("busy"), bench.call("kept")
    bench.pool.submit(busy)
    bench.pool.submit(kept)
    worker.say("standard", task="kept", **MADE)
    await settle()
    await bench.later(14)
    assert worker.signals == []
    assert not bench.pool.is_heard(busy)
    worker.say("heartbeat", rss_bytes=5)
    await settle()
    assert bench.pool.is_heard(busy)
    await bench.later(14)
    assert worker.signals == []
    await bench.later(2)
    assert worker.signals == [signal.SIGKILL]
    assert [(name, code) for name, code, _ in bench.owner.lost] == [("busy", "worker_died"), ("kept", "worker_died")]
    assert "said nothing for 16 s" in bench.owner.lost[0][2]


@on_loop()
async def test_our_own_pause_is_not_the_workers_silence(bench: Bench) -> None:
    worker = await bench.ready()
    bench.clock.now += 60
    bench.pool.forgive(60)
    await bench.later(0)
    assert worker.signals == []


@on_loop()
async def test_a_dead_worker_is_started_again_with_growing_pauses_until_calls_no_longer_wait(bench: Bench) -> None:
    pauses = []
    for failure in range(BROKEN_AFTER):
        bench.started[-1].exit(1)
        await settle()
        begun = len(bench.started)
        waited = 0.0
        if failure < BROKEN_AFTER - 1:
            while len(bench.started) == begun:
                await bench.later(0.25)
                waited += 0.25
            pauses.append(waited)
    assert pauses == [0.5, 1.0]
    bench.pool.submit(bench.call("a"))
    assert bench.owner.lost[0][:2] == ("a", "worker_died")
    assert "ended with status 1" in bench.owner.lost[0][2]
    await bench.later(2.0)
    await bench.ready()
    bench.pool.submit(bench.call("b"))
    assert [frame["task"] for frame in bench.started[-1].heard()] == ["b"]


@on_loop()
async def test_calls_that_wait_while_the_last_attempt_fails_are_released(bench: Bench) -> None:
    bench.pool.submit(bench.call("a"))
    for _ in range(BROKEN_AFTER):
        bench.started[-1].exit(1)
        await settle()
        await bench.later(3.0)
    assert [name for name, _, _ in bench.owner.lost] == ["a"]


@on_loop()
async def test_jobs_wait_out_broken_workers(bench: Bench) -> None:
    bench.pool.submit(bench.job("j"))
    for _ in range(BROKEN_AFTER + 1):
        bench.started[-1].exit(1)
        await settle()
        await bench.later(10.0)
    assert bench.owner.lost == []
    worker = await bench.ready()
    assert [frame["task"] for frame in worker.heard()] == ["j"]


@on_loop()
async def test_a_program_that_does_not_exist_counts_as_a_failed_start(bench: Bench) -> None:
    bench.cannot_start = True
    bench.started[-1].exit(1)
    await settle()
    await bench.later(1.0)
    await bench.later(5.0)
    bench.pool.submit(bench.call("a"))
    assert "could not be started" in bench.owner.lost[0][2]


@on_loop()
async def test_a_start_that_takes_for_ever_is_ended(bench: Bench) -> None:
    await bench.later(Deadlines().worker_start_s + 1)
    assert bench.started[0].signals == [signal.SIGKILL]


@on_loop()
async def test_cancel_asks_first_and_kills_only_a_worker_that_does_not_give_up(bench: Bench) -> None:
    worker = await bench.ready()
    task, second = bench.call("a"), bench.call("b")
    bench.pool.submit(task)
    bench.pool.submit(second)
    bench.pool.cancel(task)
    bench.pool.cancel(second)
    bench.pool.cancel(second)
    assert [frame["type"] for frame in worker.heard()] == ["half", "half", "cancel", "cancel"]
    worker.say("failed", task="a", code="cancelled", text="")
    await settle()
    await bench.beats(worker, int(Deadlines().cancel_s) - 1)
    assert worker.signals == []
    worker.say("heartbeat")
    await settle()
    await bench.later(2)
    assert worker.signals == [signal.SIGTERM]
    worker.say("heartbeat")
    await settle()
    await bench.later(6)
    assert worker.signals == [signal.SIGTERM, signal.SIGKILL]
    assert bench.owner.frames == []
    assert bench.owner.lost == []


@on_loop()
async def test_cancelled_work_that_is_parked_behind_other_work_costs_the_worker_nothing(bench: Bench) -> None:
    worker = await bench.ready()
    parked, other = bench.call("parked"), bench.call("other")
    bench.pool.submit(parked)
    bench.pool.submit(other)
    bench.pool.cancel(parked)
    await bench.beats(worker, 3 * int(Deadlines().cancel_s), still_task="other")
    assert worker.signals == []
    await bench.beats(worker, int(Deadlines().cancel_s) + 2, still_task="parked")
    assert worker.signals == [signal.SIGTERM]


@on_loop()
async def test_what_is_said_of_a_cancelled_or_unknown_task_reaches_nobody(bench: Bench) -> None:
    worker = await bench.ready()
    task = bench.call("a")
    bench.pool.submit(task)
    bench.pool.cancel(task)
    worker.heard()
    worker.say("standard", task="a", **MADE)
    worker.say("corrected", task="never heard of", maps={})
    worker.say("what is this")
    await settle()
    assert bench.owner.frames == []
    assert [frame["type"] for frame in worker.heard()] == ["forget"]


@on_loop()
async def test_a_word_that_makes_no_sense_costs_its_task_and_nothing_else(bench: Bench) -> None:
    worker = await bench.ready()
    bench.pool.submit(bench.call("a"))
    bench.pool.submit(bench.call("b"))
    worker.heard()
    worker.say("standard", task="a", due=True)
    worker.say("corrected", task=["b"])
    worker.say("heartbeat", rss_bytes="much")
    await settle()
    ((name, code, text),) = bench.owner.lost
    assert (name, code) == ("a", "bad_result")
    assert "standard: 'half' is missing" in text
    assert [frame["type"] for frame in worker.heard()] == ["forget"]
    worker.say("standard", task="b", **MADE)
    await settle()
    assert [frame.task for frame in bench.owner.frames] == ["b"]


@on_loop()
async def test_a_call_cancelled_before_it_was_sent_is_never_sent(bench: Bench) -> None:
    task = bench.call("a")
    bench.pool.submit(task)
    bench.pool.cancel(task)
    worker = await bench.ready()
    assert worker.heard() == []
    assert bench.owner.lost == []


@on_loop(keep_alive_s=100.0)
async def test_an_idle_worker_is_ended_unless_it_keeps_a_refinement_warm_and_starts_when_needed(bench: Bench) -> None:
    worker = await bench.ready()
    bench.pool.submit(bench.call("a", "s"))
    worker.say("failed", task="a", code="failed", text="")
    for _ in range(30):
        worker.say("heartbeat")
        await settle()
        await bench.later(10)
    assert worker.signals == []
    bench.pool.release("s")
    await bench.later(1)
    assert worker.signals == [signal.SIGKILL]
    await bench.later(1000)
    assert len(bench.started) == 1
    bench.pool.submit(bench.call("b"))
    await bench.later(0)
    assert len(bench.started) == 2
    assert bench.pool.degraded is None


@on_loop(keep_alive_s=100.0, up_s=1e6)
async def test_a_worker_that_starts_is_not_idle_however_long_the_machine_has_been_up(bench: Bench) -> None:
    await bench.later(1)
    assert bench.started[-1].signals == []


@on_loop(devices=("cuda:GPU-a", "cuda:GPU-b"))
async def test_a_dead_workers_refinements_move_and_others_are_unharmed(bench: Bench) -> None:
    for worker in bench.started:
        worker.say("ready", device_name="fake")
    await settle()
    first, second = bench.started
    bench.pool.submit(bench.call("a", "s"))
    bench.pool.submit(bench.call("b", "t"))
    assert ([f["task"] for f in first.heard()], [f["task"] for f in second.heard()]) == (["a"], ["b"])
    first.exit(-signal.SIGSEGV)
    await settle()
    assert [(name, "SIGSEGV" in text) for name, _, text in bench.owner.lost] == [("a", True)]
    bench.pool.submit(bench.call("c", "s"))
    assert [frame["task"] for frame in second.heard()] == ["c"]


@on_loop()
async def test_joint_work_is_lost_when_its_worker_is_not_there(bench: Bench) -> None:
    bench.pool.submit_to(bench.call("a"), "worker-0")
    assert [code for _, code, _ in bench.owner.lost] == ["worker_died"]


@on_loop()
async def test_while_no_jobs_are_begun_calls_are_and_a_job_waits(bench: Bench) -> None:
    worker = await bench.ready()
    bench.pool.begins_jobs = False
    bench.pool.submit(bench.job("j"))
    bench.pool.submit(bench.call("c"))
    assert [one["task"] for one in worker.heard()] == ["c"]
    bench.pool.begins_jobs = True
    bench.pool.pump()
    assert [one["task"] for one in worker.heard()] == ["j"]
