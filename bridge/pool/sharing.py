"""Which waiting task a worker is given now, where devices may be lent to other users' daemons as well.

The pool's tasks and workers become the scheduler's snapshot here; who has been lent what says `Tenancy`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from typing import Protocol

from .place import Task, Worker
from .scheduler import place
from .watching import may_begin


class Tenancy(Protocol):
    """Who else has the pool's devices (`bridge.leases.tenants`)."""

    def occupies(self, device: str) -> bool:
        """Whether somebody else's job is on a device."""

    def clears(self, device: str) -> bool:
        """Whether a call may begin on a device; if not, what is there is told to leave."""


class Nobody:
    """The tenancy of devices that are lent to nobody."""

    def occupies(self, _device: str) -> bool:
        """Nobody does."""
        return False

    def clears(self, _device: str) -> bool:
        """It is clear."""
        return True


NOBODY = Nobody()


def assigned(waiting: Collection[Task], workers: Collection[Worker], tenancy: Tenancy) -> list[tuple[Task, Worker]]:
    """What may be given to whom now, calls first."""
    alive = {worker.name: worker for worker in workers if worker.alive}
    views = [replace(worker.view, occupied=tenancy.occupies(worker.device)) for worker in alive.values()]
    tasks = {task.id: task for task in may_begin(waiting, workers)}
    homes = {session: worker.name for worker in workers for session in worker.sessions}
    under_way = Counter((task.uid, task.is_call) for worker in workers for task in worker.tasks.values() if task.busy)
    placements = place(views, [task.view for task in tasks.values()], homes, under_way)
    return [(tasks[placement.task], alive[placement.worker]) for placement in placements]
