"""Workers that stand still: left alone while nobody waits, replaced for a call of RELION, and named in the health."""

from __future__ import annotations

from cryobridge.bridge.pool.place import Task
from cryobridge.schemas.config import Deadlines

from .test_pool import MADE, Bench, FakeProcess, on_loop, settle

LIMIT_S = Deadlines().still_s


async def still(worker: FakeProcess, task: str, seconds: float) -> None:
    worker.say("heartbeat", still_s=seconds, still_task=task)
    await settle()


@on_loop()
async def test_a_job_that_hangs_is_shown_but_left_alone_while_no_call_waits(bench: Bench) -> None:
    worker = await bench.ready()
    bench.pool.submit(bench.job("j"))
    await still(worker, "j", 100 * LIMIT_S)
    await bench.later(0)
    assert worker.signals == []
    assert "worker-0 (cpu): has made no step" in (bench.pool.degraded or "")
    worker.say("progress", task="j", text="on we go", fraction=0.5)
    await settle()
    assert bench.pool.degraded is None


@on_loop()
async def test_a_call_behind_a_job_that_hangs_goes_to_the_next_worker_and_the_job_is_lost(bench: Bench) -> None:
    worker = await bench.ready()
    bench.pool.submit(bench.job("j"))
    call = bench.call("a")
    bench.pool.submit(call)
    await still(worker, "j", LIMIT_S - 1)
    await bench.later(0)
    assert worker.signals == []
    await still(worker, "j", LIMIT_S)
    await bench.later(0)
    assert len(worker.signals) == 1
    assert [(name, code) for name, code, _ in bench.owner.lost] == [("j", "stalled")]
    assert "made no step and computed nothing for 30 s while a call of RELION waited" in bench.owner.lost[0][2]
    await bench.later(1)
    again = await bench.ready()
    assert [(frame["task"], frame["n_fds"]) for frame in again.heard()] == [("a", 1)]
    again.say("standard", task="a", **MADE)
    await settle()
    assert [frame.type for frame in bench.owner.frames] == ["standard"]


@on_loop(devices=("cuda:GPU-a", "cuda:GPU-b"))
async def test_with_another_worker_there_the_call_goes_to_it_at_once(bench: Bench) -> None:
    for worker in bench.started:
        worker.say("ready", device_name="fake")
    await settle()
    first, second = bench.started
    first_job = bench.job("j")
    first_job.devices = frozenset({"cuda:GPU-a"})
    bench.pool.submit(first_job)
    call = bench.call("a")
    call.devices = frozenset({"cuda:GPU-a"})
    bench.pool.submit(call)
    call.devices = None
    await still(first, "j", LIMIT_S)
    await bench.later(0)
    assert [(frame["task"], frame["n_fds"]) for frame in second.heard()] == [("a", 1)]


@on_loop()
async def test_a_call_that_hangs_itself_is_lost_and_a_job_beside_it_is_not_to_blame(bench: Bench) -> None:
    worker = await bench.ready()
    bench.pool.submit(bench.job("j"))
    bench.pool.submit(bench.call("a"))
    await still(worker, "a", LIMIT_S)
    await bench.later(0)
    assert [(name, code) for name, code, _ in bench.owner.lost] == [("j", "worker_died"), ("a", "worker_died")]


@on_loop()
async def test_a_call_that_the_worker_has_begun_is_not_done_twice(bench: Bench) -> None:
    worker = await bench.ready()
    bench.pool.submit(bench.job("j"))
    bench.pool.submit(bench.call("a"))
    worker.say("progress", task="a", text="reading", fraction=None)
    await still(worker, "j", LIMIT_S)
    await bench.later(0)
    assert {name for name, _, _ in bench.owner.lost} == {"j", "a"}


@on_loop()
async def test_a_process_that_cannot_be_killed_is_left_named_and_replaced(bench: Bench) -> None:
    worker = await bench.ready()
    worker.send_signal = worker.signals.append  # type: ignore[method-assign]  # as in an uninterruptible read
    bench.pool.submit(bench.job("j"))
    bench.pool.submit(bench.call("a"))
    await still(worker, "j", LIMIT_S)
    await bench.later(0)
    await bench.later(10)
    again = await bench.ready()
    assert [frame["task"] for frame in again.heard()] == ["a"]
    assert "process 4242, once worker-0, was killed and does not end" in (bench.pool.degraded or "")
    worker.status = -9
    assert bench.pool.degraded is None


@on_loop()
async def test_a_call_that_was_given_up_keeps_no_descriptors(bench: Bench) -> None:
    worker = await bench.ready()
    bench.pool.submit(bench.job("j"))
    call: Task = bench.call("a")
    bench.pool.submit(call)
    bench.pool.cancel(call)
    assert call.spare_fds
    worker.say("failed", task="a", code="cancelled", text="")
    await settle()
    assert call.spare_fds == []
