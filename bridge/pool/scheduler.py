"""Which task goes to which worker: a pure function over a snapshot, no clock and no processes.

RELION's calls come first and stay with the worker that holds their refinement's warm state. Jobs get
workers that have no job; inside a worker, calls go ahead of a running job between its steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """Lower goes first."""

    CALL = 0
    INTERACTIVE = 1
    BATCH = 2


@dataclass(frozen=True)
class WorkerView:
    """What the scheduler needs to know of a worker."""

    name: str
    device: str
    ready: bool
    """False while it starts; it may still be chosen for a refinement, whose tasks then wait for it."""
    sessions: int = 0
    calls: int = 0
    jobs: int = 0


@dataclass(frozen=True)
class TaskView:
    """What the scheduler needs to know of a waiting task."""

    id: str
    priority: Priority
    order: int
    """Arrival; smaller goes first inside a priority."""
    session: str | None = None
    devices: frozenset[str] | None = None
    """Devices the task may use; None for any."""


@dataclass(frozen=True)
class Placement:
    """A task goes to a worker now."""

    task: str
    worker: str


def place(
    workers: Iterable[WorkerView],
    tasks: Iterable[TaskView],
    sticky: Mapping[str, str],
) -> list[Placement]:
    """Decide what starts now.

    Parameters
    ----------
    workers
        All living workers.
    tasks
        Tasks that wait.
    sticky
        Session -> name of the worker that holds its warm state.

    Returns
    -------
    list of Placement
        Calls first, then jobs, each by arrival; at most one job per worker at a time. A task that is not
        named waits on.
    """
    alive = {worker.name: worker for worker in workers}
    sessions = Counter({name: worker.sessions for name, worker in alive.items()})
    calls = Counter({name: worker.calls for name, worker in alive.items()})
    jobs = Counter({name: worker.jobs for name, worker in alive.items()})
    homes = {session: name for session, name in sticky.items() if name in alive}
    placements: list[Placement] = []
    for task in sorted(tasks, key=lambda waiting: (waiting.priority, waiting.order)):
        able = [name for name, one in alive.items() if task.devices is None or one.device in task.devices]
        if task.priority is Priority.CALL:
            home = homes.get(task.session or "")
            if home is None and able:
                # A starting worker is taken only where no ready one exists: waiting costs its whole start.
                home = min(able, key=lambda name: (not alive[name].ready, sessions[name], calls[name], name))
            if home is None or not alive[home].ready:
                continue
            if task.session is not None and task.session not in homes:
                homes[task.session] = home
                sessions[home] += 1
            calls[home] += 1
            placements.append(Placement(task.id, home))
            continue
        free = [name for name in able if alive[name].ready and not jobs[name]]
        if free:
            chosen = min(free, key=lambda name: (calls[name], sessions[name], name))
            jobs[chosen] += 1
            placements.append(Placement(task.id, chosen))
    return placements
