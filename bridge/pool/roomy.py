"""The pool as jobs see it where its devices are not alike: a job goes only to those that hold what it wants."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from cryobridge.schemas.codes import Code
from cryobridge.schemas.worker_messages import JobTask

from ..wants import Wants
from .budgets import holds
from .place import Task
from .pool import Pool


class RoomyDevices:
    """The workers of jobs (`bridge.queue.submitted.JobWorkers`).

    Parameters
    ----------
    pool
        Takes a job as soon as it is known how much it wants.
    devices
        All that there are workers for.
    budgets
        Bytes that a job may have on each; one that is not named holds everything.
    wants
        Finds out.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool,
        devices: Sequence[str],
        budgets: Mapping[str, int],
        wants: Wants | None = None,
    ) -> None:
        self._loop = loop
        self._pool = pool
        self._devices = devices
        self._budgets = budgets
        self._wants = wants or Wants()
        self._asked: set[Task] = set()

    def submit(self, task: Task) -> None:
        """Take a task over."""
        self._asked.add(task)
        spec = task.frame.spec if isinstance(task.frame, JobTask) else {}
        self._wants.find_out(self._loop, spec, partial(self._known, task))

    def cancel(self, task: Task, *, detach: bool = True) -> None:
        """Give a task up; its owner hears no more of it, unless `detach` is false."""
        if task not in self._asked:
            self._pool.cancel(task, detach=detach)
            return
        self._asked.discard(task)
        owner, task.owner = task.owner, None
        if owner is not None and not detach:
            owner.task_lost(task, Code.CANCELLED, "cancelled before it started")

    def _known(self, task: Task, wanted: int | None) -> None:
        if task not in self._asked:
            return
        self._asked.discard(task)
        allowed = [one for one in self._devices if task.devices is None or one in task.devices]
        budgets = [self._budgets.get(one) for one in allowed]
        task.devices = frozenset(
            one for one, budget in zip(allowed, budgets, strict=True) if holds(budget, wanted, budgets)
        )
        self._pool.submit(task)


def are_alike(devices: Sequence[str], budgets: Mapping[str, int]) -> bool:
    """Whether it makes no difference to a job's memory which device it gets."""
    return len({budgets.get(device) for device in devices}) <= 1
