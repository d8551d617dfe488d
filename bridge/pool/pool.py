"""The workers: one process per device, kept alive, watched, and fed.

A worker that ends or says nothing for too long is killed, its tasks are reported lost, and it is started
again with growing pauses. Tasks wait here, with their descriptors, until a worker is ready for them.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from cryobridge.schemas.codes import AnyCode, Code
from cryobridge.schemas.config import Deadlines
from cryobridge.schemas.frames import FrameInvalid
from cryobridge.schemas.wire import Frame
from cryobridge.schemas.worker_messages import (
    FROM_WORKER,
    CancelTask,
    DeviceLeft,
    ForgetTask,
    PrepareSession,
    ReleaseSession,
    StandardMade,
    StopWorker,
    TaskProgress,
    TaskSaying,
    TaskWord,
    WorkerHeartbeat,
    WorkerReady,
)

from .connection import Connection
from .place import Process, Spawn, Task, Worker, WorkerState, exit_text, spawner
from .scheduler import Priority
from .sharing import NOBODY, Tenancy, assigned
from .watching import (
    Ending,
    is_idle,
    keeps_cancelled_work,
    left_behind,
    may_go_elsewhere,
    to_blame,
    trouble,
    waits_behind_long_work,
    why_end,
)

log = logging.getLogger(__name__)

_EXIT_STATUS_S = 0.05


class Pool:
    """All workers of this daemon.

    Parameters
    ----------
    devices
        One worker each, e.g. `["cpu"]` or `["cuda:GPU-..."]`.
    log_dir
        Folder for the workers' output.
    spawn
        How a worker process is started; tests start their own.
    clock
        Monotonic seconds.

    Attributes
    ----------
    tenancy, begins_jobs
        Who else has these devices now and then; and whether jobs are begun at present.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        devices: Sequence[str],
        deadlines: Deadlines,
        log_dir: Path,
        *,
        keep_alive_s: float = -1.0,
        spawn: Spawn | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._loop = loop
        self._deadlines = deadlines
        self._keep_alive_s = keep_alive_s
        self._spawn = spawn or spawner()
        self._clock = clock or loop.time
        self.workers = [
            Worker(f"worker-{index}", device, log_dir / f"worker-{index}.log") for index, device in enumerate(devices)
        ]
        self._waiting: dict[str, Task] = {}
        self._ending: list[Ending] = []
        self._order = itertools.count()
        self._stopping = False
        self.restarts = 0
        self.tenancy: Tenancy = NOBODY
        self.begins_jobs = True

    # ---- work

    def submit(self, task: Task) -> None:
        """Take a task over, with its descriptors; it is sent as soon as a worker is ready for it."""
        task.order = next(self._order)
        if task.is_call and self.is_broken:
            self._lose(task, Code.WORKER_DIED, self._why_broken())
            return
        self._waiting[task.id] = task
        self.pump()

    def submit_to(self, task: Task, worker_name: str) -> None:
        """Send a task to the worker that already holds what the task needs."""
        worker = self._named(worker_name)
        if worker is None or worker.state is not WorkerState.READY:
            self._lose(task, Code.WORKER_DIED, "the worker that held the standard maps has ended")
            return
        task.home = worker_name
        self.submit(task)

    def cancel(self, task: Task, *, detach: bool = True) -> None:
        """Give a task up. Its owner hears no more of it, unless `detach` is false.

        The worker gets a cancel frame, and is killed when it goes on with that task beyond the cancel deadline.
        """
        if detach:
            task.owner = None
        if self._waiting.pop(task.id, None) is not None:
            self._lose(task, Code.CANCELLED, "cancelled before it started")
            return
        worker = self._named(task.worker)
        if worker is None or task.id not in worker.tasks or worker.connection is None:
            return
        if task.busy:
            if task.cancel_at is None:
                task.cancel_at = self._clock() + self._deadlines.cancel_s
                worker.connection.send(CancelTask(task=task.id).as_message())
        else:
            self._forget(task, worker)

    def forget(self, task: Task) -> None:
        """Let the worker drop what it keeps of a task; a task still being worked on is cancelled."""
        self.cancel(task)

    def prepare(self, frame: PrepareSession) -> None:
        """Let the session's worker get ready before the first call; nobody waits for an answer."""
        self.submit(Task(f"prepare:{frame.session}", frame, None, Priority.CALL, session=frame.session))

    def release(self, session: str) -> None:
        """Let the worker drop a session's warm state."""
        for worker in [worker for worker in self.workers if session in worker.sessions]:
            worker.sessions.discard(session)
            if worker.connection is not None:
                worker.connection.send(ReleaseSession(session=session).as_message())

    def is_heard(self, task: Task) -> bool:
        """Whether the worker that has (or will get) the task shows signs of life."""
        limit = self._deadlines.silence_s / 2
        now = self._clock()
        worker = self._named(task.worker)
        if worker is None:
            return any(one.alive or not one.broken for one in self.workers)
        return worker.state is WorkerState.READY and now - worker.heard_at <= limit

    # ---- life

    def start(self) -> None:
        """Start all workers."""
        for worker in self.workers:
            if worker.state is WorkerState.STOPPED:
                self._start(worker)

    def stop(self) -> None:
        """Ask all workers to end; `tick` or `kill` ends those that do not."""
        self._stopping = True
        for worker in self.workers:
            if worker.connection is not None:
                worker.connection.send(StopWorker().as_message())

    def kill(self) -> None:
        """End all workers now."""
        self._stopping = True
        self._lose_where(lambda _: True, "the daemon is stopping")
        for worker in self.workers:
            if worker.alive:
                self._end(worker, "was stopped", wanted=True)

    @property
    def running(self) -> bool:
        """Whether any worker process is left."""
        self._ending = [one for one in self._ending if one.process.poll() is None]
        return bool(self._ending) or any(worker.alive for worker in self.workers)

    def forgive(self, seconds: float) -> None:
        """Do not count a time in which this process itself did not run as a worker's silence."""
        for worker in self.workers:
            worker.heard_at += seconds
            worker.started_at += seconds

    def tick(self) -> None:
        """Look at every worker: silence, failed starts, overdue cancels, restarts, idleness."""
        now = self._clock()
        self._ending = [one for one in self._ending if one.process.poll() is None]
        for worker in self.workers:
            if worker.alive:
                self._watch(worker, now)
            elif not self._stopping and self._wanted(worker) and now >= worker.retry_at:
                self._start(worker)
        self.pump()

    @property
    def is_broken(self) -> bool:
        """Whether there are workers, and none can start."""
        return bool(self.workers) and all(worker.broken for worker in self.workers)

    @property
    def degraded(self) -> str | None:
        """Why the pool cannot do all it should, or None."""
        found = [trouble(worker, self._deadlines) for worker in self.workers]
        found += [left_behind(one, self._clock()) for one in self._ending if one.process.poll() is None]
        return next((text for text in found if text), None)

    # ---- inside

    def _named(self, name: str | None) -> Worker | None:
        return next((worker for worker in self.workers if worker.name == name), None)

    def _why_broken(self) -> str:
        return f"no worker can start: {self.workers[0].last_error}"

    def _wanted(self, worker: Worker) -> bool:
        return worker.state is WorkerState.FAILED or bool(self._waiting)

    def _start(self, worker: Worker) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        now = self._clock()
        worker.begins(now)
        try:
            worker.process = self._spawn(worker.device, theirs, worker.log)
        except OSError as error:
            ours.close()
            worker.failed(now, f"could not be started ({error.strerror})")
            log.error("worker could not be started", extra={"worker": worker.name, "error": str(error)})
            self._lose_homeless(worker, worker.last_error)
            return
        finally:
            theirs.close()
        process = worker.process
        heard = (lambda frame: self._frame(worker, process, frame), lambda why: self._closed(worker, process, why))
        worker.connection = Connection(ours, self._loop, *heard)
        log.info("worker started", extra={"worker": worker.name, "device": worker.device, "pid": process.pid})

    def _frame(self, worker: Worker, process: Process, frame: Frame) -> None:
        frame.close()
        if worker.process is not process or not worker.alive:
            return
        worker.heard_at = self._clock()
        try:
            word = FROM_WORKER.decode(frame.message)
        except FrameInvalid as error:
            self._senseless(worker, frame, error)
            return
        if isinstance(word, WorkerReady):
            worker.state = WorkerState.READY
            worker.device_name = word.device_name
            worker.started_at = worker.idle_since = worker.heard_at
            log.info("worker ready", extra={"worker": worker.name, "device_name": worker.device_name})
            self.pump()
        elif isinstance(word, WorkerHeartbeat):
            worker.rss_bytes = worker.rss_bytes if word.rss_bytes is None else word.rss_bytes
            worker.still_s, worker.still_task = word.still_s, word.still_task
        elif isinstance(word, TaskWord):
            self._task_frame(worker, word)
        elif isinstance(word, DeviceLeft):
            self._device_left(worker)

    def _senseless(self, worker: Worker, frame: Frame, error: FrameInvalid) -> None:
        """A worker's word that cannot be understood costs the task that it is about, nothing else."""
        log.error("a worker makes no sense", extra={"worker": worker.name, "error": str(error)})
        task = worker.tasks.get(str(frame.message.get("task")))
        if task is not None:
            self._forget(task, worker)
            self._lose(task, Code.BAD_RESULT, f"the worker said something that makes no sense ({error})")
            self.pump()

    def _task_frame(self, worker: Worker, word: TaskSaying) -> None:
        task = worker.tasks.get(word.task)
        if task is None:
            return  # a late word on a task that was given up
        worker.still_s = 0.0
        task.close_fds()
        if word.ends_task:
            del worker.tasks[task.id]
            task.busy = False
        elif isinstance(word, StandardMade):
            task.busy = False
            if task.owner is None:
                self._forget(task, worker)
        worker.idle_since = self._clock()
        if task.owner is not None:
            task.owner.task_frame(task, word)
        if not isinstance(word, TaskProgress):
            self.pump()

    def _device_left(self, worker: Worker) -> None:
        """Hear that a worker keeps off its device; only workers on lent devices are told to."""

    def _closed(self, worker: Worker, process: Process, reason: str) -> None:
        if process.poll() is None:
            # A process closes its sockets before its exit status can be read, and the status says why it ended.
            self._loop.call_later(_EXIT_STATUS_S, self._broke_off, worker, process, reason)
        else:
            self._broke_off(worker, process, reason)

    def _broke_off(self, worker: Worker, process: Process, reason: str) -> None:
        if worker.process is process and worker.alive:
            self._end(worker, f"{exit_text(process)} ({reason})", wanted=self._stopping)

    def _watch(self, worker: Worker, now: float) -> None:
        if (why := why_end(worker, now, self._deadlines)) is not None:
            self._end(worker, why, wanted=self._stopping)
        elif worker.terminated_at is None and keeps_cancelled_work(worker, now, self._deadlines):
            worker.terminated_at = now
            worker.signal(signal.SIGTERM)
        elif not self._waiting and is_idle(worker, now, self._keep_alive_s):
            log.info("worker idle, ended", extra={"worker": worker.name})
            self._end(worker, "was idle", wanted=True)

    def _end(self, worker: Worker, why: str, *, wanted: bool = False) -> None:
        """Kill what is left of the process and report everything it had as lost."""
        now = self._clock()
        blamed = None if wanted else to_blame(worker, self._deadlines)
        process, lost = worker.ends()
        if process is not None:
            self._ending.append(Ending(process, worker.name, now))
        if wanted:
            worker.state = WorkerState.STOPPED
        else:
            text = f"{why}; its last words: {words}" if (words := worker.last_words()) else why
            worker.failed(now, text)
            self.restarts += 1
            log.error("worker ended", extra={"worker": worker.name, "error": text})
        for task in lost:
            if not wanted and may_go_elsewhere(task, worker):
                task.fds, task.spare_fds, task.busy, task.worker = task.spare_fds, [], False, None
                self._waiting[task.id] = task
                continue
            self._lose(task, Code.STALLED if task.id == blamed else Code.WORKER_DIED, f"the worker {why}")
        self._lose_homeless(worker, f"the worker {why}")

    def _lose_homeless(self, ended: Worker, why: str) -> None:
        """Report what waits only for a worker that has ended as lost, and all calls where no worker can start."""
        self._lose_where(lambda task: task.home == ended.name, why)
        if self.is_broken:
            self._lose_where(lambda task: task.is_call, self._why_broken())

    def _lose_where(self, is_lost: Callable[[Task], bool], why: str) -> None:
        for task in [task for task in self._waiting.values() if is_lost(task)]:
            del self._waiting[task.id]
            self._lose(task, Code.WORKER_DIED, why)

    def _lose(self, task: Task, code: AnyCode, text: str) -> None:
        task.close_fds()
        task.busy = False
        owner, task.owner = task.owner, None
        if owner is not None:
            owner.task_lost(task, code, text)

    def pump(self) -> None:
        """Send every waiting task for which there is a ready worker on a device that is clear for it."""
        if not self._waiting or self._stopping:
            return
        for task, worker in assigned(self._waiting.values(), self.workers, self.tenancy):
            may = self.tenancy.clears(worker.device) if task.is_call else self.begins_jobs
            if may and self._waiting.pop(task.id, None) is not None:
                self._give(task, worker)

    def _give(self, task: Task, worker: Worker) -> None:
        if worker.connection is None:
            self._lose(task, Code.WORKER_DIED, "the worker has ended")
            return
        task.worker = worker.name
        fds, task.fds = task.fds, []
        if waits_behind_long_work(task, worker):
            task.spare(fds)
        if task.session is not None:
            worker.sessions.add(task.session)
        if not isinstance(task.frame, PrepareSession):
            task.busy = True
            worker.tasks[task.id] = task
        worker.connection.send(task.frame.as_message(), fds)

    def _forget(self, task: Task, worker: Worker) -> None:
        worker.tasks.pop(task.id, None)
        if worker.connection is not None:
            worker.connection.send(ForgetTask(task=task.id).as_message())
