"""From the daemon's parts to the rows of `news`.

Jobs are told of as they are booked, calls as they begin and end, and the rest as a look at what is in memory shows it,
a few times a second. The database is asked once, at the start.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from cryobridge.schemas.news import NewsTable, What
from cryobridge.schemas.state import TERMINAL, JobState
from cryobridge.schemas.wire import Message
from cryobridge.schemas.worker_messages import TaskProgress

from ..pool.place import WorkerState
from ..pool.scheduler import Priority
from ..queue.rows import StoredJob
from ..queue.store import RELION_KIND, Store
from ..refinements.iteration import Iteration, Verdict
from ..refinements.pairing import Ledger
from .health import Health
from .news import News

PRIORITIES = {Priority.INTERACTIVE: "interactive", Priority.BATCH: "batch"}
_RSS_STEP_BYTES = 16 * 1024 * 1024
"""Workers' memory is told in steps, for it changes a little with every heartbeat."""
_JOBS = {
    JobState.QUEUED: What.JOB_QUEUED,
    JobState.RUNNING: What.JOB_STARTED,
    JobState.INTERRUPTED: What.JOB_INTERRUPTED,
}
_WORKERS = {
    WorkerState.STARTING.value: What.WORKER_STARTED,
    WorkerState.READY.value: What.WORKER_READY,
    WorkerState.FAILED.value: What.WORKER_ENDED,
    WorkerState.STOPPED.value: What.WORKER_ENDED,
}


class ToldLedger:
    """Books iterations, and tells of them as calls.

    Parameters
    ----------
    books
        Where they are booked; first, so that who hears of an end finds it in the log.
    news
        What is told.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        books: Ledger,
        news: News,
        clock: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._books = books
        self._news = news
        self._clock = clock
        self._wall_clock = wall_clock
        self._began: dict[str, float] = {}
        self._outcomes = dict.fromkeys(("corrected", "standard", "fallback"), 0)

    def begin_iteration(self, iteration: Iteration) -> None:
        """A new iteration (`Ledger`)."""
        self._books.begin_iteration(iteration)
        self._began[iteration.id] = self._clock()
        row = {
            "job_id": iteration.id,
            "uid": iteration.key.uid,
            "session": iteration.key.session,
            "iteration": iteration.key.iteration,
            "halves": {str(number): str(half.state) for number, half in sorted(iteration.halves.items())},
            "worker": None,
            "began_at": self._wall_clock(),
        }
        self._news.put(What.CALL_BEGAN, NewsTable.CALLS, iteration.id, row)

    def end_iteration(self, iteration: Iteration, verdict: Verdict) -> None:
        """How it ended (`Ledger`); one that ended before it was booked is told of when it is."""
        self._books.end_iteration(iteration, verdict)
        began = self._began.pop(iteration.id, None)
        if began is None:
            return
        outcome = "corrected" if verdict.corrected else "fallback" if verdict.failed else "standard"
        said = {"outcome": outcome, "code": str(verdict.code), "text": verdict.line}
        last = {**self._news.rows(NewsTable.CALLS)[iteration.id], **said, "seconds": round(self._clock() - began, 3)}
        self._news.drop(What(f"call_{outcome}"), NewsTable.CALLS, iteration.id, last)
        self._outcomes[outcome] += 1
        self._news.put(What.COUNTED, NewsTable.COUNTS, "calls", dict(self._outcomes))
        if outcome == "fallback":
            keys = ("session", "uid", "iteration", "code")
            row = {"at": self._wall_clock(), **{key: last[key] for key in keys}, "line": verdict.line}
            self._news.put(What.CALL_FALLBACK, NewsTable.FALLBACK, "last", row)


class Jobs(Protocol):
    """The part of `bridge.queue.submitted.JobQueue` that is needed here."""

    def on_progress(self, callback: Callable[[str, TaskProgress], None]) -> None:
        """Have every report of progress told."""

    def places(self) -> Mapping[str, str | None]:
        """Which worker each open job is with."""


class Refinements(Protocol):
    """The part of `bridge.refinements.pairing.Sessions` that is needed here."""

    @property
    def open_calls(self) -> int:
        """Hooks that wait."""

    def snapshot(self) -> list[Message]:
        """The refinements."""

    def running(self) -> list[Message]:
        """The iterations that hooks wait for."""


class Feed:
    """Keeps the rows of `news` as the parts are.

    Parameters
    ----------
    store
        Asked once, in `start`; from then on it tells what it has booked.
    status
        Gives the fields that describe the daemon itself, with its workers.
    memory
        Gives the total and free bytes of devices by their name, as far as they are known.
    wall_clock
        Seconds since 1970.
    """

    def __init__(
        self,
        news: News,
        store: Store,
        jobs: Jobs,
        refinements: Refinements,
        status: Callable[[], Message],
        health: Callable[[], Health],
        memory: Callable[[], Mapping[str, tuple[int, int]]] = dict,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._news = news
        self._store = store
        self._jobs = jobs
        self._refinements = refinements
        self._status = status
        self._health = health
        self._memory = memory
        self._wall_clock = wall_clock
        self._progress: dict[str, TaskProgress] = {}
        self._counted = False
        self.counts: dict[str, int] = dict.fromkeys(JobState, 0)
        """Jobs and iterations by state, as they are booked."""

    def start(self) -> None:
        """Read what there is, once, and listen from now on."""
        self.counts.update(self._store.counts())
        for job in self._store.queued():
            self._news.put(What.JOB_QUEUED, NewsTable.JOBS, job.id, _job_row(job, {}))
        self._store.on_change(self.booked)
        self._jobs.on_progress(self._progress.__setitem__)
        self._look()

    def booked(self, before: JobState | None, job: StoredJob) -> None:
        """A job was booked in a state, or its log has a new line."""
        if before is not job.state:
            if before is not None:
                self.counts[before] -= 1
            self.counts[job.state] += 1
            self._counted = False
        if job.kind == RELION_KIND:
            return  # told as a call
        known = self._news.rows(NewsTable.JOBS).get(job.id, {})
        if job.state in TERMINAL:
            self._progress.pop(job.id, None)
            self._news.drop(What.JOB_ENDED, NewsTable.JOBS, job.id, _job_row(job, known))
        else:
            again = before is not job.state and job.state is not JobState.RUNNING
            what = What.JOB_NOTED if before is job.state else _JOBS[job.state]
            self._news.put(what, NewsTable.JOBS, job.id, _job_row(job, {} if again else known))

    def tick(self) -> None:
        """Tell what has changed since the last look."""
        for job_id, told in self._progress.items():
            self._change_job(What.JOB_PROGRESS, job_id, progress={"text": told.text, "fraction": told.fraction})
        self._progress.clear()
        self._look()

    # ---- inside

    def _look(self) -> None:
        status = self._status()
        self._look_at_workers(status.pop("workers"))
        for job_id, worker in self._jobs.places().items():
            self._change_job(What.JOB_PROGRESS, job_id, worker=worker)
        calls = self._news.rows(NewsTable.CALLS)
        for call in self._refinements.running():
            row = calls.get(call["job_id"])
            if row is not None:
                changed = {"halves": call["halves"], "worker": call["worker"]}
                self._news.put(What.CALL_CHANGED, NewsTable.CALLS, call["job_id"], {**row, **changed})
        self._look_at_refinements()
        health = self._health()
        self._news.put(What.HEALTH_CHANGED, NewsTable.HEALTH, "health", health.as_row())
        status["started_at"] = (
            self._news.rows(NewsTable.DAEMON)
            .get("daemon", {})
            .get("started_at", round(self._wall_clock() - status["uptime_s"]))
        )
        daemon = {key: value for key, value in status.items() if key not in ("uptime_s", "clients")}
        self._news.put(What.DAEMON_CHANGED, NewsTable.DAEMON, "daemon", daemon)
        self._count()

    def _look_at_workers(self, workers: list[Message]) -> None:
        known, memory = self._news.rows(NewsTable.WORKERS), self._memory()
        for worker in workers:
            row = {key: value for key, value in worker.items() if key not in ("still_s", "task")}
            total, free = memory.get(row["device"], (None, None))
            rss = row["rss_bytes"]
            row |= {
                "busy": bool(row["tasks"]),
                "rss_bytes": -(-rss // _RSS_STEP_BYTES) * _RSS_STEP_BYTES,
                "device_total_bytes": total,
                "device_free_bytes": free,
            }
            before = known.get(row["name"], {"pid": None, "state": WorkerState.STOPPED.value})
            if before["pid"] is not None and row["pid"] not in (None, before["pid"]):
                # Ended and started again between two looks.
                ended = {**before, "pid": None, "state": WorkerState.FAILED.value, "tasks": [], "busy": False}
                self._news.put(What.WORKER_ENDED, NewsTable.WORKERS, row["name"], ended)
                before = ended
            same = before["state"] == row["state"]
            what = What.WORKER_CHANGED if same else _WORKERS[row["state"]]
            self._news.put(what, NewsTable.WORKERS, row["name"], row)

    def _look_at_refinements(self) -> None:
        known = self._news.rows(NewsTable.REFINEMENTS)
        now, there = self._wall_clock(), set()
        for one in self._refinements.snapshot():
            row = {key: value for key, value in one.items() if key != "idle_s"}
            there.add(row["session"])
            before = known.get(row["session"], {})
            # Its clock is another one: the time of the last call is told anew only when there was one.
            new = row["calls"] != before.get("calls") or row["iteration"] != before.get("iteration")
            row["last_call_at"] = round(now - one["idle_s"], 1) if new else before["last_call_at"]
            self._news.put(What.REFINEMENT_CHANGED, NewsTable.REFINEMENTS, row["session"], row)
        for session in [session for session in known if session not in there]:
            self._news.drop(What.REFINEMENT_RELEASED, NewsTable.REFINEMENTS, session)

    def _change_job(self, what: What, job_id: str, **changed: object) -> None:
        row = self._news.rows(NewsTable.JOBS).get(job_id)
        if row is not None and any(row[key] != value for key, value in changed.items()):
            self._news.put(what, NewsTable.JOBS, job_id, {**row, **changed})

    def _count(self) -> None:
        if not self._counted:
            self._counted = True
            waiting = Counter(
                row["priority"] for row in self._news.rows(NewsTable.JOBS).values() if row["state"] == JobState.QUEUED
            )
            self._news.put(What.COUNTED, NewsTable.COUNTS, "jobs", {str(key): n for key, n in self.counts.items()})
            queue = {name: waiting[name] for name in PRIORITIES.values()}
            self._news.put(What.COUNTED, NewsTable.COUNTS, "queue", queue)
        there = {"calls": self._refinements.open_calls, "refinements": len(self._news.rows(NewsTable.REFINEMENTS))}
        self._news.put(What.COUNTED, NewsTable.COUNTS, "open", there)


def _job_row(job: StoredJob, known: Message) -> Message:
    """A job as it is told; where it runs and how far it is are kept from before."""
    return {
        "job_id": job.id,
        "kind": job.kind,
        "uid": job.uid,
        "priority": PRIORITIES.get(Priority(job.priority), "batch"),
        "state": job.state.value,
        "reason": job.reason,
        "text": job.text,
        "attempts": job.attempts,
        "abort_requested": job.abort_requested,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "output": job.spec.get("output"),
        "worker": known.get("worker"),
        "progress": known.get("progress"),
    }
