"""Submitted jobs: checked, stored, run on a worker, and their end stored; cancel and recovery.

Stored before the reply, so that an acknowledged job is never lost. A job whose worker dies is queued again, up to
the number of attempts that `schemas.state` allows.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cryobridge.schemas.codes import AnyCode, Code
from cryobridge.schemas.config import Limits
from cryobridge.schemas.envelope import Job
from cryobridge.schemas.errors import JobRejected
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.state import TERMINAL
from cryobridge.schemas.worker_messages import JobDone, JobTask, TaskFailed, TaskProgress, TaskSaying

from ..pool.devices import task_devices
from ..pool.place import Task
from ..pool.scheduler import Priority
from .bookings import Bookings
from .rows import StoredJob
from .store import RELION_KIND, Store, StoreUnavailable

log = logging.getLogger(__name__)

NOTE_EVERY_S = 5.0


class JobWorkers(Protocol):
    """The part of `bridge.pool.pool.Pool` that is needed here."""

    def submit(self, task: Task) -> None:
        """Take a task over."""

    def cancel(self, task: Task, *, detach: bool = True) -> None:
        """Give a task up."""


class ClusterWorkers(JobWorkers, Protocol):
    """The part of `bridge.slurm.workers.SlurmWorkers` that is needed here: what is detached goes on, and is found."""

    def check(self, job: Job) -> None:
        """Refuse a job that cannot be handed over from here (`JobRejected`, `InputInvalid`)."""


@dataclass(eq=False)
class _Running:
    job: StoredJob
    task: Task
    deadline_s: float | None
    workers: JobWorkers
    started: float | None = None
    noted: float = 0.0
    progress: TaskProgress | None = None
    late: bool = False


class JobQueue:
    """The queue of submitted jobs.

    Parameters
    ----------
    store
        Where they are kept.
    workers
        The pool.
    roots
        Folders that other users' jobs may name; resolved once here.
    clock
        Monotonic seconds.
    devices
        What there are workers for.
    own_uid
        The user that the workers run as.
    refusing
        Why no jobs are taken at all, or empty.
    cluster
        Who does jobs with `run.executor: slurm`; None where nobody does.
    """

    def __init__(
        self,
        store: Store,
        workers: JobWorkers,
        limits: Limits,
        roots: Sequence[Path],
        clock: Callable[[], float],
        devices: Sequence[str],
        *,
        own_uid: int | None = None,
        refusing: str = "",
        cluster: ClusterWorkers | None = None,
    ) -> None:
        self._store = store
        self._workers = workers
        self._cluster = cluster
        self._limits = limits
        self._roots = [root.resolve() for root in roots]
        self._clock = clock
        self._devices = devices
        self._own_uid = os.getuid() if own_uid is None else own_uid
        self._refusing = refusing
        self._active: dict[str, _Running] = {}
        self._bookings = Bookings(clock)
        self._accepting = True
        self._waiters: list[Callable[[str], None]] = []

    # ---- requests

    def submit(self, spec: object, uid: int) -> StoredJob:
        """Check and store a job, and hand it to the workers.

        Raises
        ------
        InputInvalid, JobRejected
            If it is not a job, too many are open, or it names files its owner may not have read by the daemon.
        bridge.queue.store.StoreUnavailable
            If it could not be stored.
        """
        if not self._accepting:
            raise JobRejected("the daemon is stopping; submit again when it is back")
        if self._refusing:
            raise JobRejected(self._refusing)
        job = parse_job(spec, "submit")
        self._check_paths(job, uid)
        if job.run.request_id is not None:
            known = self._store.find_request(job.run.request_id, uid)
            if known is not None:
                return known
        else:
            # By its name a worker knows a job again that it finished and whose end nobody booked.
            job = job.requested_as(secrets.token_hex(8))
        if self._store.open_jobs() >= self._limits.jobs:
            raise JobRejected(f"the queue is full ({self._limits.jobs} jobs); wait for some to finish")
        if self._store.open_jobs(uid) >= self._limits.jobs_per_user:
            raise JobRejected(f"you have {self._limits.jobs_per_user} unfinished jobs; wait for some to finish")
        priority = Priority.INTERACTIVE if job.run.priority == "interactive" else Priority.BATCH
        if job.run.executor == "here":
            task_devices(job.run.devices, self._devices)
        elif self._cluster is None:
            raise JobRejected("this daemon hands no jobs to SLURM; say executor: here")
        else:
            self._cluster.check(job)
        stored = self._store.add(job.kind, job.as_spec(), uid, priority=priority, request_id=job.run.request_id)
        log.info("job submitted", extra={"job_id": stored.id, "kind": stored.kind, "uid": uid})
        self._hand_over(stored)
        return stored

    def cancel(self, job_id: str) -> StoredJob | None:
        """Ask a job to stop; one that has not begun is cancelled at once. None if there is no such job."""
        job = self._store.get(job_id)
        if job is None or job.state in TERMINAL or job.kind == RELION_KIND:
            return job
        job = self._store.request_abort(job_id)
        active = self._active.get(job_id)
        if active is not None:
            active.workers.cancel(active.task, detach=False)
        return self._store.get(job_id)

    def on_end(self, callback: Callable[[str], None]) -> None:
        """Have `callback` called with the id of every job that ends."""
        self._waiters.append(callback)

    def progress(self, job_id: str) -> TaskProgress | None:
        """The last progress of a running job."""
        active = self._active.get(job_id)
        return None if active is None else active.progress

    @property
    def busy(self) -> bool:
        """Whether any job runs or waits.

        One whose end cannot be booked does not keep a daemon that nobody needs: the next one does the job again.
        """
        return bool(self._active)

    @property
    def problem(self) -> str | None:
        """Why what became of jobs could not be booked yet, or None."""
        return self._bookings.problem

    # ---- life

    def resume(self) -> None:
        """Hand over what was queued when the daemon last ended."""
        for job in self._store.queued():
            self._hand_over(job)

    def close(self) -> None:
        """Take no more, and give up what runs; it is queued again at the next start."""
        self._accepting = False
        for active in list(self._active.values()):
            active.workers.cancel(active.task)
            del self._active[active.job.id]
            if active.started is not None:
                put_back = partial(
                    self._store.interrupt, active.job.id, Code.CANCELLED, "the daemon stopped", counts=False
                )
                self._bookings.book(put_back)

    def tick(self, now: float) -> None:
        """Act on deadlines, note that waiting jobs have started, and book what could not be booked before."""
        self._bookings.tick(now)
        for active in list(self._active.values()):
            if active.task.busy:
                self._begin(active)
            overdue = active.started is not None and active.deadline_s is not None
            if overdue and not active.late and now - (active.started or now) > (active.deadline_s or 0.0):
                active.late = True
                active.workers.cancel(active.task, detach=False)

    # ---- from the pool

    def task_frame(self, task: Task, frame: TaskSaying) -> None:
        """A worker's word on a job (`TaskOwner`)."""
        active = self._running(task)
        if active is None:
            return
        if task.busy or not isinstance(frame, TaskProgress):
            # A cluster says of a job too that it waits.
            self._begin(active)
        if isinstance(frame, TaskProgress):
            self._note(active, frame)
        elif isinstance(frame, JobDone):
            self._end(active, lambda: self._store.succeed(active.job.id, frame.result))
        elif isinstance(frame, TaskFailed):
            self._end(active, lambda: self._given_up(active, frame.code, frame.text))

    def task_lost(self, task: Task, code: AnyCode, text: str) -> None:
        """The job's worker is gone, or the job was cancelled before it began (`TaskOwner`)."""
        active = self._running(task)
        if active is None:
            return
        if code == Code.CANCELLED:
            self._end(active, lambda: self._store.cancel(active.job.id))
            return
        self._begin(active)
        again = partial(self._hand_over_again, text, code == Code.STALLED)
        self._end(active, lambda: self._store.interrupt(active.job.id, code, text), again)

    # ---- inside

    def _running(self, task: Task) -> _Running | None:
        """The job that a task is for; None when it was given up, or was handed over again since."""
        active = self._active.get(task.frame.job_id) if isinstance(task.frame, JobTask) else None
        return active if active is not None and active.task is task else None

    def _hand_over(self, stored: StoredJob, *, wary: bool = False) -> None:
        run = stored.spec.get("run")
        run = run if isinstance(run, dict) else {}
        priority = Priority(stored.priority) if stored.priority in (1, 2) else Priority.BATCH
        frame = JobTask(task=f"job-{stored.id}-{stored.attempts}", job_id=stored.id, spec=stored.spec)
        cluster = self._cluster if stored.in_slurm else None
        try:
            devices = None if cluster else task_devices(str(run.get("devices", "auto")), self._devices)
        except JobRejected as error:
            # It was accepted when there were other devices.
            self._bookings.book(partial(self._store.fail, stored.id, error.code, str(error)))
            return
        task = Task(frame.task, frame, self, priority, devices=devices, wary=wary)
        workers = cluster or self._workers
        self._active[stored.id] = _Running(stored, task, run.get("deadline_s"), workers)
        workers.submit(task)

    def _begin(self, active: _Running) -> None:
        """A worker may answer before the next tick; the store must know that the job ran."""
        if active.started is None:
            active.started = self._clock()
            self._bookings.book(partial(self._store.start, active.job.id))

    def _given_up(self, active: _Running, code: AnyCode, text: str) -> StoredJob:
        if active.late:
            return self._store.fail(
                active.job.id, Code.TIMEOUT, f"took longer than deadline_s = {active.deadline_s:g} s"
            )
        if code == Code.CANCELLED:
            return self._store.cancel(active.job.id)
        return self._store.fail(active.job.id, code, text)

    def _end(
        self,
        active: _Running,
        change: Callable[[], StoredJob],
        again: Callable[[StoredJob], None] = lambda _: None,
    ) -> None:
        """Book what became of a job; when that is on the disk, tell who waits for it, or hand it over again."""
        self._active.pop(active.job.id, None)

        def booked(stored: StoredJob) -> None:
            if stored.state in TERMINAL:
                log.info("job ended", extra={"job_id": stored.id, "state": stored.state.value, "reason": stored.reason})
                for callback in self._waiters:
                    callback(stored.id)
            else:
                again(stored)

        self._bookings.book(change, booked)

    def _hand_over_again(self, why: str, wary: bool, stored: StoredJob) -> None:
        if self._accepting:
            log.warning("job queued again", extra={"job_id": stored.id, "attempts": stored.attempts, "error": why})
            self._hand_over(stored, wary=wary)

    def _note(self, active: _Running, told: TaskProgress) -> None:
        active.progress = told
        now = self._clock()
        if now - active.noted >= NOTE_EVERY_S or not active.noted:
            active.noted = now
            try:
                self._store.note(active.job.id, "progress", told.text)
            except StoreUnavailable as error:
                log.error("progress not booked", extra={"error": str(error)})

    def _check_paths(self, job: Job, uid: int) -> None:
        """The daemon must not read or write for another user what that user may have no right to."""
        paths = [*(found.path for found in job.paths()), job.output]
        for path in paths:
            if not path.is_absolute():
                raise JobRejected(f"{path}: a submitted job needs absolute paths")
        if uid in (self._own_uid, 0):
            return
        for path in paths:
            resolved = path.resolve()
            if not any(resolved.is_relative_to(root) for root in self._roots):
                raise JobRejected(
                    f"{path}: outside the folders that jobs of other users may name; "
                    "run it with 'cryobridge run', or ask the operator to add the folder to job_roots"
                )


def summary(job: StoredJob) -> dict[str, Any]:
    """A job as clients see it."""
    inputs: Mapping[str, Any] = job.spec.get("inputs", {})
    return {
        "job_id": job.id,
        "kind": job.kind,
        "state": job.state.value,
        "reason": job.reason,
        "text": job.text,
        "uid": job.uid,
        "attempts": job.attempts,
        "abort_requested": job.abort_requested,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "inputs": inputs,
        "output": job.spec.get("output"),
        "result": job.result,
    }
