"""Jobs of a daemon that has no device of its own: each runs in a worker of its own while a device is lent for it."""

from __future__ import annotations

import asyncio
import itertools
import logging
from dataclasses import dataclass
from typing import Any, Literal

from cryobridge.schemas.codes import AnyCode, Code
from cryobridge.schemas.leases import AskDevice
from cryobridge.schemas.worker_messages import JobTask, TaskFailed, TaskProgress, TaskSaying

from ..pool.lent import LentPool
from ..pool.place import Task, TaskOwner, Worker
from ..pool.scheduler import Priority
from ..wants import Wants
from .landlord import Landlord

log = logging.getLogger(__name__)

MOST_ASKED = 16
"""Devices that are asked for at once; the other jobs wait here for their turn to ask."""
WAITS = "waits for its device, which has something more urgent to do"


@dataclass(eq=False)
class _Lent:
    """A job that wants a device, or has one."""

    lease: str
    task: Task
    owner: TaskOwner | None
    asked: bool = False
    device: str | None = None
    worker: Worker | None = None
    aside: bool = False
    is_known: bool = False
    wants_bytes: int | None = None

    @property
    def spec(self) -> dict[str, Any]:
        return self.task.frame.spec if isinstance(self.task.frame, JobTask) else {}


class LeasedWorkers:
    """The workers of jobs (`bridge.queue.submitted.JobWorkers`), and who is told of leases (`LeaseHearer`).

    Attributes
    ----------
    landlord
        Who lends; set before anything else is called.
    pool
        The processes.
    """

    landlord: Landlord
    pool: LentPool

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._wants = Wants()
        self._lent: dict[str, _Lent] = {}
        self._numbers = itertools.count()

    # ---- from the queue

    def submit(self, task: Task) -> None:
        """Take a task over; a device is asked for when it is its turn."""
        one = _Lent(f"lease-{next(self._numbers)}", task, task.owner)
        task.owner = self
        self._lent[one.lease] = one
        self._wants.find_out(self._loop, one.spec, lambda wanted: self._known(one, wanted))

    def cancel(self, task: Task, *, detach: bool = True) -> None:
        """Give a task up; its owner hears no more of it, unless `detach` is false."""
        one = self._of_task(task)
        if one is None:
            return
        if detach:
            one.owner = None
        if one.worker is None:
            self._finish(one)
            if one.owner is not None:
                one.owner.task_lost(task, Code.CANCELLED, "cancelled before it started")
            return
        self.pool.cancel(task, detach=False)
        if one.aside and one.lease in self._lent:
            # It ends without touching the device.
            one.task.held = False
            self.pool.come_back(one.worker)

    def ask_more(self) -> None:
        """Ask for devices for the jobs whose turn it is, if jobs are begun at present."""
        if not self.pool.begins_jobs:
            return
        asked = sum(one.asked for one in self._lent.values())
        waiting = [one for one in self._lent.values() if one.is_known and not one.asked and one.device is None]
        for one in sorted(waiting, key=lambda one: one.task.priority)[: max(0, MOST_ASKED - asked)]:
            self._ask(one)

    # ---- from the pool

    def task_frame(self, task: Task, frame: TaskSaying) -> None:
        """A worker's word on a job (`TaskOwner`)."""
        one = self._of_task(task)
        if one is None:
            return
        if frame.ends_task:
            self._finish(one)
        if one.owner is not None:
            one.owner.task_frame(task, frame)

    def task_lost(self, task: Task, code: AnyCode, text: str) -> None:
        """A job's worker has ended (`TaskOwner`)."""
        one = self._of_task(task)
        if one is None:
            return
        self._finish(one)
        if one.owner is not None:
            one.owner.task_lost(task, code, text)

    def left(self, worker: Worker) -> None:
        """A worker has left its device."""
        for one in self._lent.values():
            if one.worker is worker and one.aside:
                self.landlord.stood_aside(one.lease)

    # ---- from the landlord

    def found(self) -> None:
        """Ask for all that is wanted, and first for what jobs have begun on."""
        for one in self._lent.values():
            one.asked = False
            if one.device is not None:
                self._ask(one)
        self.ask_more()

    def lost(self) -> None:
        """Let every job leave its device: nobody knows any more who else is there."""
        for one in self._lent.values():
            one.asked = False
            if one.worker is not None:
                self.leave(one.lease)

    def granted(self, lease: str, device: str) -> None:
        """Begin a job."""
        one = self._lent.get(lease)
        if one is None or one.worker is not None:
            return
        one.device = device
        one.worker = self.pool.worker_on(device)
        one.task.home = one.worker.name
        if one.worker.alive:
            self.pool.submit(one.task)
        else:
            self.task_lost(one.task, Code.WORKER_DIED, f"its worker {one.worker.last_error}")

    def refused(self, lease: str, code: AnyCode, text: str) -> None:
        """End a job that gets no device; one that has lost its device has its worker ended, and may be tried again."""
        one = self._lent.get(lease)
        if one is None:
            return
        log.warning("no device", extra={"lease": lease, "code": str(code), "text": text})
        if one.worker is not None:
            self.pool.end(one.worker, text)
        else:
            self.task_frame(one.task, TaskFailed(task=one.task.id, code=code, text=text))

    def leave(self, lease: str) -> None:
        """Let a job leave its device at its next step."""
        one = self._lent.get(lease)
        if one is None or one.worker is None or one.aside:
            return
        one.aside = one.task.held = True
        if one.owner is not None and one.task.busy:
            one.owner.task_frame(one.task, TaskProgress(task=one.task.id, text=WAITS))
        self.pool.leave(one.worker)

    def go_on(self, lease: str) -> None:
        """Let a job go on that left."""
        one = self._lent.get(lease)
        if one is not None and one.worker is not None and one.aside:
            one.aside = one.task.held = False
            self.pool.come_back(one.worker)

    # ---- inside

    def _of_task(self, task: Task) -> _Lent | None:
        return next((one for one in self._lent.values() if one.task is task), None)

    def _known(self, one: _Lent, wants_bytes: int | None) -> None:
        """Go on when it is known how much a job wants."""
        one.is_known, one.wants_bytes = True, wants_bytes
        self.ask_more()

    def _ask(self, one: _Lent) -> None:
        one.asked = True
        run = one.spec.get("run")
        wanted = run.get("devices") if isinstance(run, dict) else None
        priority: Literal["interactive", "batch"] = (
            "interactive" if one.task.priority is Priority.INTERACTIVE else "batch"
        )
        self.landlord.ask(
            AskDevice(
                lease=one.lease,
                kind=str(one.spec.get("kind", ""))[:64],
                priority=priority,
                devices=str(wanted or "auto"),
                device_bytes=one.wants_bytes,
                held=one.device,
            )
        )

    def _finish(self, one: _Lent) -> None:
        """Forget a job that has ended, and let its device go."""
        del self._lent[one.lease]
        self.landlord.give_back(one.lease)
        if one.worker is not None and one.aside:
            self.pool.come_back(one.worker)
        self.ask_more()
