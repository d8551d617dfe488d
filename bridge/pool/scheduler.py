"""Which task goes to which worker: a pure function over a snapshot, no clock and no processes.

RELION's calls come first and stay with the worker that holds their refinement's warm state; among those that wait, each
user's in turn. Jobs get workers that have no job, and interactive ones also such as have a batch job; inside a worker,
calls go ahead of a running job between its steps, and an interactive job ahead of a batch job.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """Lower goes first."""

    CALL = 0
    INTERACTIVE = 1
    BATCH = 2


MOST_CALLS = 8
"""Unanswered calls that a worker is given at once: the others wait here, where each user's have their turn."""


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
    urgent_jobs: int = 0
    """How many of the jobs are interactive."""
    occupied: bool = False
    """Whether a job of another daemon has the device: no job may begin there."""


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
    home: str | None = None
    """The only worker that can do it; None for any."""
    uid: int = 0
    """Whose it is."""


@dataclass(frozen=True)
class Placement:
    """A task goes to a worker now."""

    task: str
    worker: str


def place(
    workers: Iterable[WorkerView],
    tasks: Iterable[TaskView],
    sticky: Mapping[str, str],
    under_way: Mapping[tuple[int, bool], int] | None = None,
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
    under_way
        How many calls (True) and jobs (False) of each user workers have now.

    Returns
    -------
    list of Placement
        Calls first, then interactive jobs, then batch jobs; within each first those of users who have least under way,
        then by arrival. At most `MOST_CALLS` calls and one job of either sort per worker. A task that is not named
        waits on.
    """
    alive = {worker.name: worker for worker in workers}
    sessions = Counter({name: worker.sessions for name, worker in alive.items()})
    calls = Counter({name: worker.calls for name, worker in alive.items()})
    jobs = Counter({name: worker.jobs for name, worker in alive.items()})
    urgent = Counter({name: worker.urgent_jobs for name, worker in alive.items()})
    homes = {session: name for session, name in sticky.items() if name in alive}
    placements: list[Placement] = []
    for task in _in_turn(list(tasks), under_way or {}):
        able = [name for name, one in alive.items() if _can(one, task)]
        if task.priority is Priority.CALL:
            home = task.home if task.home in alive else homes.get(task.session or "")
            if home is None and able:
                # A starting worker is taken only where no ready one exists: waiting costs its whole start.
                home = min(able, key=lambda name: (not alive[name].ready, sessions[name], calls[name], name))
            if home is None or not alive[home].ready or calls[home] >= MOST_CALLS:
                continue
            if task.session is not None and task.session not in homes:
                homes[task.session] = home
                sessions[home] += 1
            calls[home] += 1
            placements.append(Placement(task.id, home))
            continue
        taken = urgent if task.priority is Priority.INTERACTIVE else jobs
        free = [name for name in able if alive[name].ready and not alive[name].occupied and not taken[name]]
        if free:
            chosen = min(free, key=lambda name: (jobs[name], calls[name], sessions[name], name))
            jobs[chosen] += 1
            urgent[chosen] += task.priority is Priority.INTERACTIVE
            placements.append(Placement(task.id, chosen))
    return placements


def _in_turn(tasks: Sequence[TaskView], under_way: Mapping[tuple[int, bool], int]) -> list[TaskView]:
    """The order in which tasks are looked at: of each user one after another, as far as priorities allow."""
    before = Counter(under_way)
    ranked: list[tuple[Priority, int, int, TaskView]] = []
    for task in sorted(tasks, key=lambda waiting: (waiting.priority, waiting.order)):
        mine = (task.uid, task.priority is Priority.CALL)
        ranked.append((task.priority, before[mine], task.order, task))
        before[mine] += 1
    return [task for *_, task in sorted(ranked, key=lambda one: one[:3])]


def _can(worker: WorkerView, task: TaskView) -> bool:
    return (task.devices is None or worker.device in task.devices) and task.home in (None, worker.name)
