"""Devices that are not alike: a job waits in the pool for those that hold it, and can be given up before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from support.fake_pool import FakePool
from support.fake_process import NotingOwner

from cryobridge.bridge.pool.place import Task
from cryobridge.bridge.pool.roomy import RoomyDevices, are_alike
from cryobridge.bridge.pool.scheduler import Priority
from cryobridge.schemas.codes import Code
from cryobridge.schemas.worker_messages import JobTask

SMALL, LARGE, CPU = "cuda:GPU-small", "cuda:GPU-large", "cpu"
DEVICES = [SMALL, LARGE, CPU]
BUDGETS = {SMALL: 10, LARGE: 20}


class Wanted:
    """Tells what jobs want when the test says so."""

    def __init__(self) -> None:
        self.tell: dict[str, Callable[[int | None], None]] = {}

    def find_out(self, _loop: object, spec: dict[str, str], then: Callable[[int | None], None]) -> None:
        self.tell[spec["name"]] = then


class Bench:
    def __init__(self) -> None:
        self.pool, self.wants, self.owner = FakePool(), Wanted(), NotingOwner()
        loop = asyncio.new_event_loop()
        loop.close()
        self.roomy = RoomyDevices(loop, self.pool, DEVICES, BUDGETS, self.wants)  # type: ignore[arg-type]

    def submit(self, devices: frozenset[str] | None = None) -> Task:
        frame = JobTask(task="a", job_id="a", spec={"name": "a"})
        task = Task("a", frame, self.owner, Priority.BATCH, devices=devices)
        self.roomy.submit(task)
        return task

    def allowed(self, wants: int | None, devices: frozenset[str] | None = None) -> set[str]:
        task = self.submit(devices)
        assert not self.pool.tasks, "before it is known what it wants"
        self.wants.tell["a"](wants)
        assert self.pool.tasks.pop("a") is task
        return set(task.devices or ())


def test_a_job_goes_only_where_it_fits() -> None:
    bench = Bench()
    assert bench.allowed(5) == {SMALL, LARGE, CPU}
    assert bench.allowed(15) == {LARGE, CPU}
    assert bench.allowed(None) == {SMALL, LARGE, CPU}


def test_what_fits_on_no_gpu_may_try_the_largest() -> None:
    assert Bench().allowed(99) == {LARGE, CPU}


def test_a_job_that_asks_for_a_device_gets_no_other() -> None:
    assert Bench().allowed(15, frozenset({SMALL})) == {SMALL}
    assert Bench().allowed(15, frozenset({SMALL, LARGE})) == {LARGE}


def test_a_job_that_is_cancelled_before_it_is_known_what_it_wants_never_begins() -> None:
    bench = Bench()
    task = bench.submit()
    bench.roomy.cancel(task, detach=False)
    assert bench.owner.lost == [("a", Code.CANCELLED, "cancelled before it started")]
    bench.wants.tell["a"](5)
    assert not bench.pool.tasks


def test_who_detaches_hears_no_more() -> None:
    bench = Bench()
    bench.roomy.cancel(bench.submit())
    bench.wants.tell["a"](5)
    assert not bench.owner.lost
    assert not bench.pool.tasks


def test_a_job_in_the_pool_is_cancelled_there() -> None:
    bench = Bench()
    task = bench.submit()
    bench.wants.tell["a"](5)
    bench.roomy.cancel(task)
    assert not bench.pool.tasks


def test_devices_are_alike_where_a_job_may_have_as_much_on_each() -> None:
    assert are_alike([CPU], {})
    assert are_alike([SMALL, LARGE], {SMALL: 10, LARGE: 10})
    assert not are_alike([SMALL, LARGE], BUDGETS)
    assert not are_alike([SMALL, CPU], BUDGETS)
