"""When a worker must be ended, and what is wrong with one that need not be: judgements only, no signals sent.

A worker stands still when its main thread has neither ended a step nor computed for a while (it says so itself with
every heartbeat). That alone ends nothing, for a slow file system may yet answer; it does as soon as a call of RELION
waits behind it. A process that the system will not let go, because it waits for such a file system, cannot be killed:
it is left, named in the daemon's health, and another one is started in its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryobridge.schemas.config import Deadlines
from cryobridge.schemas.worker_messages import HalfTask

from .place import Process, Task, Worker, WorkerState, exit_text

TERM_S = 5.0
UNKILLABLE_AFTER_S = 5.0
"""A killed process that is still there after this waits inside the system."""


@dataclass(frozen=True)
class Ending:
    """A process that was killed at `since` (monotonic seconds) and has perhaps not ended yet."""

    process: Process
    worker: str
    since: float


def why_end(worker: Worker, now: float, deadlines: Deadlines) -> str | None:
    """Why a living worker's process must be ended now, as the end of a sentence about it; None if it need not be."""
    silence = now - worker.heard_at
    if worker.process is not None and worker.process.poll() is not None:
        return exit_text(worker.process)
    if worker.state is WorkerState.STARTING:
        late = now - worker.started_at > deadlines.worker_start_s
        return f"was not ready after {deadlines.worker_start_s:.0f} s" if late else None
    if silence > deadlines.silence_s:
        return f"said nothing for {silence:.0f} s"
    if worker.terminated_at is not None and now - worker.terminated_at > TERM_S:
        return "did not give up cancelled work"
    if is_stalled(worker, deadlines):
        return (
            f"made no step and computed nothing for {worker.still_s:.0f} s while a call of RELION waited "
            "(a file system that does not answer?)"
        )
    return None


def keeps_cancelled_work(worker: Worker, now: float, deadlines: Deadlines) -> bool:
    """Whether a worker does not give up cancelled work in time; the time counts from when that work's turn has come.

    While the worker is at another task, cancelled work is only parked behind it, and no reason to lose the other one:
    its time (`cancel_at`) is then set anew.
    """
    late = False
    for task in worker.tasks.values():
        if task.cancel_at is not None and worker.still_task not in {"", task.id}:
            task.cancel_at = now + deadlines.cancel_s
        late = late or (task.cancel_at is not None and now >= task.cancel_at)
    return late


def is_stalled(worker: Worker, deadlines: Deadlines) -> bool:
    """Whether a worker stands still and a call waits behind it."""
    waits = any(task.busy and task.is_call for task in worker.tasks.values())
    return waits and worker.still_s >= deadlines.still_s


def to_blame(worker: Worker, deadlines: Deadlines) -> str | None:
    """The job whose step a worker stands still in, to be called before the worker's tasks are taken from it."""
    found = worker.tasks.get(worker.still_task)
    return found.id if found is not None and not found.is_call and is_stalled(worker, deadlines) else None


def is_idle(worker: Worker, now: float, keep_alive_s: float) -> bool:
    """Whether nothing has needed a worker for so long; never where that is negative."""
    needed = worker.tasks or worker.sessions
    return keep_alive_s >= 0 and not needed and now - worker.idle_since > keep_alive_s


def may_begin(waiting: Iterable[Task], workers: Iterable[Worker]) -> list[Task]:
    """The tasks that may be given out: none that is held, wary ones only while no call waits or runs anywhere."""
    tasks = [task for task in waiting if not task.held]
    calls = any(one.is_call for one in [*tasks, *(task for worker in workers for task in worker.tasks.values())])
    return [task for task in tasks if not (calls and task.wary)]


def waits_behind_long_work(task: Task, worker: Worker) -> bool:
    """Whether a call comes to a worker that is at a job or a correction, whose step may hang before the call begins."""
    return isinstance(task.frame, HalfTask) and any(
        one.busy and not isinstance(one.frame, HalfTask) for one in worker.tasks.values()
    )


def may_go_elsewhere(task: Task, worker: Worker) -> bool:
    """Whether a worker that was ended had not begun a call, which another one can then do from its descriptors."""
    waiting = task.busy and isinstance(task.frame, HalfTask) and task.id != worker.still_task
    return waiting and bool(task.spare_fds) and task.owner is not None


def trouble(worker: Worker, deadlines: Deadlines) -> str | None:
    """What is wrong with a worker, for the daemon's health; said before it is ended for standing still."""
    if worker.state is WorkerState.FAILED:
        return f"{worker.name} ({worker.device}): {worker.last_error}"
    if worker.alive and worker.still_s >= deadlines.still_s / 2:
        on = f" in {worker.still_task}" if worker.still_task else ""
        return (
            f"{worker.name} ({worker.device}): has made no step and computed nothing for {worker.still_s:.0f} s{on}; "
            "a file system that does not answer? it is replaced when a call of RELION waits"
        )
    return None


def left_behind(ending: Ending, now: float) -> str | None:
    """What is wrong with a process that was killed, for the daemon's health."""
    if now - ending.since < UNKILLABLE_AFTER_S:
        return None
    return (
        f"process {ending.process.pid}, once {ending.worker}, was killed and does not end: it waits inside the system, "
        "perhaps for a file system that does not answer; another one does its work"
    )


def unvouched(worker: Worker, now: float, deadlines: Deadlines) -> str | None:
    """Why it is doubtful that a worker which should live is looked after, in a few words; None if it is.

    A worker that waits for its next start, however often it failed, is: a new daemon could start it no better.
    """
    limit = deadlines.silence_s / 2
    if worker.state is WorkerState.READY and now - worker.heard_at > limit:
        return f"{worker.name} is silent"
    if worker.state is WorkerState.STARTING and now - worker.started_at > deadlines.worker_start_s + limit:
        return f"{worker.name} does not start and is not ended"
    if worker.state is WorkerState.FAILED and now - worker.retry_at > limit:
        return f"{worker.name} is not started again"
    return None
