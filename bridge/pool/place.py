"""One worker as the daemon sees it: a process, its frame connection, what it works on, and when it last spoke.

This module starts and ends processes; which work goes where is `bridge.pool.scheduler`'s and `bridge.pool.pool`'s.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from cryobridge.schemas.codes import AnyCode
from cryobridge.schemas.worker_messages import TaskSaying, Work

from .connection import Connection
from .scheduler import Priority, TaskView, WorkerView

WORKER_COMMAND = (sys.executable, "-I", "-m", "cryobridge.bridge.worker")
MAX_LOG_BYTES = 8 * 1024 * 1024


class Process(Protocol):
    """The part of `subprocess.Popen` that is used."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def poll(self) -> int | None:
        """Its exit status, or None while it lives."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal; nothing happens when it has ended."""


Spawn = Callable[[str, socket.socket, Path], Process]
"""Start a worker for a device, with its end of the socket pair and the file for its output."""


def spawner(command: Sequence[str] = WORKER_COMMAND) -> Spawn:
    """How workers are started: `command --fd N --device D`, output to a file, its own session."""

    def spawn(device: str, sock: socket.socket, log: Path) -> Process:
        if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            return subprocess.Popen(
                [*command, "--fd", str(sock.fileno()), "--device", device],
                pass_fds=[sock.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C in a terminal must reach the daemon only, which then lets calls finish.
                start_new_session=True,
            )

    return spawn


class TaskOwner(Protocol):
    """Who is told what becomes of a task."""

    def task_frame(self, task: Task, frame: TaskSaying) -> None:
        """The worker said something about the task."""

    def task_lost(self, task: Task, code: AnyCode, text: str) -> None:
        """The task will never be answered: its worker ended or none can start."""


@dataclass(eq=False)
class Task:
    """One piece of work for a worker.

    `fds` belong to the task until it is sent, `spare_fds` as long as they are there. `busy` is true from the sending
    until the worker has answered; after `standard` the worker still keeps the task's sums, so the task stays on its
    list until it is forgotten.
    """

    id: str
    frame: Work
    owner: TaskOwner | None
    priority: Priority
    order: int = 0
    session: str | None = None
    devices: frozenset[str] | None = None
    fds: list[int] = field(default_factory=list)
    spare_fds: list[int] = field(default_factory=list)
    """Copies, for a call that waits behind other work of its worker, until that worker has said anything of it."""
    uid: int = 0
    """Whose it is; in a daemon of one user it makes no difference."""
    home: str | None = None
    """The only worker that can do it, by name."""
    held: bool = False
    """Whether it may not begin at present, because its device is lent to somebody else."""
    wary: bool = False
    """Whether its step hung before: it then begins only while no call is under way, which it might hold up again."""
    worker: str | None = None
    busy: bool = False
    cancel_at: float | None = None
    """When to kill the worker, should it not have given up this cancelled task by then."""

    @property
    def is_call(self) -> bool:
        """Whether a RELION waits for it."""
        return self.priority is Priority.CALL

    @property
    def view(self) -> TaskView:
        """What the scheduler sees of it."""
        return TaskView(self.id, self.priority, self.order, self.session, self.devices, self.home, self.uid)

    def spare(self, fds: list[int]) -> None:
        """Keep copies of what is about to be sent; none where descriptors run out: it then ends with its worker."""
        try:
            for fd in fds:
                self.spare_fds.append(os.dup(fd))
        except OSError:
            self.close_fds()

    def close_fds(self) -> None:
        """Close descriptors that were not sent, and copies of those that were."""
        for kept in (self.fds, self.spare_fds):
            while kept:
                with contextlib.suppress(OSError):
                    os.close(kept.pop())


class WorkerState(StrEnum):
    """Where a device's worker is in its life."""

    STOPPED = "off"  # no process; starts when there is work
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"  # ended by itself or was killed; starts again at `retry_at`


class Away(StrEnum):
    """Whether a worker keeps off its device."""

    NOT = "no"
    LEAVING = "leaving"  # told so, and at its step
    LEFT = "left"
    WANTED_BACK = "wanted back"  # told to leave, and to come back as soon as it has


BROKEN_AFTER = 3
"""So many failures in a row and calls no longer wait for the next attempt."""
_HEALTHY_AFTER_S = 60.0
_BACK_OFF_S = 0.5
_BACK_OFF_MAX_S = 60.0


@dataclass(eq=False)
class Worker:
    """The place of one device's worker, over restarts of its process."""

    name: str
    device: str
    log: Path
    state: WorkerState = WorkerState.STOPPED
    process: Process | None = None
    connection: Connection | None = None
    device_name: str = ""
    rss_bytes: int = 0
    started_at: float = 0.0
    heard_at: float = 0.0
    idle_since: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    last_error: str = ""
    tasks: dict[str, Task] = field(default_factory=dict)
    sessions: set[str] = field(default_factory=set)
    terminated_at: float | None = None
    still_s: float = 0.0
    """For how long it has neither ended a step nor computed, as it last said."""
    still_task: str = ""
    away: Away = Away.NOT

    @property
    def alive(self) -> bool:
        """Whether there is a process."""
        return self.state in (WorkerState.STARTING, WorkerState.READY)

    @property
    def broken(self) -> bool:
        """Whether it failed so often that nobody should wait for it."""
        return self.failures >= BROKEN_AFTER and self.state is not WorkerState.READY

    @property
    def busy(self) -> bool:
        """Whether it has unanswered work."""
        return any(task.busy for task in self.tasks.values())

    @property
    def view(self) -> WorkerView:
        """What the scheduler sees of it."""
        calls = sum(task.busy and task.is_call for task in self.tasks.values())
        jobs = [task for task in self.tasks.values() if not task.is_call]
        urgent = sum(task.priority is Priority.INTERACTIVE for task in jobs)
        ready = self.state is WorkerState.READY and self.terminated_at is None
        return WorkerView(self.name, self.device, ready, len(self.sessions), calls, len(jobs), urgent)

    def begins(self, now: float) -> None:
        """Note that its process is about to be started."""
        self.started_at = self.heard_at = self.idle_since = now
        self.state, self.terminated_at, self.still_s, self.still_task = WorkerState.STARTING, None, 0.0, ""
        self.away = Away.NOT

    def ends(self) -> tuple[Process | None, list[Task]]:
        """Kill what is left of its process; that process, and the tasks that it had."""
        self.signal(signal.SIGKILL)
        process, tasks = self.process, list(self.tasks.values())
        if self.connection is not None:
            self.connection.close()
        self.process, self.connection, self.rss_bytes = None, None, 0
        self.sessions.clear()
        self.tasks.clear()
        return process, tasks

    def failed(self, now: float, text: str) -> None:
        """Note an unwanted end and when to try again."""
        if self.state is WorkerState.READY and now - self.started_at > _HEALTHY_AFTER_S:
            self.failures = 0
        self.retry_at = now + min(_BACK_OFF_MAX_S, _BACK_OFF_S * 2**self.failures)
        self.failures += 1
        self.state = WorkerState.FAILED
        self.last_error = text

    def signal(self, sig: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(sig)

    def last_words(self) -> str:
        """The last line of the worker's output, for messages."""
        try:
            with self.log.open("rb") as stream:
                stream.seek(max(0, self.log.stat().st_size - 4096))
                lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines()]
        except OSError:
            return ""
        return next((line[:300] for line in reversed(lines) if line), "")

    def snapshot(self) -> dict[str, Any]:
        """What `status` shows of it."""
        busy = [task for task in self.tasks.values() if task.busy]
        return {
            "name": self.name,
            "device": self.device,
            "device_name": self.device_name,
            "pid": self.process.pid if self.process is not None and self.alive else None,
            "state": self.state.value,
            "rss_bytes": self.rss_bytes,
            "task": busy[0].id if busy else None,
            "tasks": [task.id for task in busy],
            "sessions": len(self.sessions),
            "still_s": self.still_s,
            "failures": self.failures,
            "last_error": self.last_error or None,
        }


def exit_text(process: Process) -> str:
    """How a process ended, in words."""
    status = process.poll()
    if status is None:
        return "is not answering"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
