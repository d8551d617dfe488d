"""What commands may ask the daemon; who may ask it is decided in `rights`, what is shown to whom in `views`."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, assert_never

from cryobridge.schemas.bounds import MAX_WAITS
from cryobridge.schemas.codes import Code
from cryobridge.schemas.errors import CryobridgeError, InputInvalid, JobRejected
from cryobridge.schemas.frames import FrameInvalid, TypedFrame
from cryobridge.schemas.messages import Heartbeat, Refused
from cryobridge.schemas.requests import (
    FROM_COMMAND,
    AskMetrics,
    AskProcesses,
    AskSettings,
    AskStatus,
    CancelJob,
    DrainDaemon,
    FollowNews,
    JobProgress,
    ListJobs,
    PrepareRefinement,
    ReadLog,
    ReleaseRefinement,
    Request,
    RequestReply,
    ResumeDaemon,
    StopDaemon,
    SubmitJob,
    WaitForJob,
)
from cryobridge.schemas.state import TERMINAL
from cryobridge.schemas.wire import HEARTBEAT_S, Message
from cryobridge.schemas.worker_messages import PrepareSession, TaskProgress

from ..queue.rows import StoredJob
from ..queue.store import RELION_KIND, Store
from ..queue.submitted import JobQueue, summary
from ..refinements.call import session_name
from ..refinements.pairing import Sessions
from .health import STORE_TROUBLE
from .rights import Rights
from .views import DaemonViews

MAX_WAIT_S = 86_400.0
LEAST_ID_CHARACTERS = 8
"""So much of an id names its job, if that is the only one of the asker's."""


class Asker(Protocol):
    """A connected command."""

    @property
    def uid(self) -> int:
        """Its user, as the kernel knows it."""

    @property
    def unsent_bytes(self) -> int:
        """How much it has not taken yet."""

    def send(self, frame: TypedFrame) -> None:
        """Queue a frame."""


@dataclass(eq=False)
class _Wait:
    client: Asker
    job_id: str
    until: float
    next_beat: float
    last_progress: TaskProgress | None = None


class RequestHandler:
    """Answers request frames.

    Parameters
    ----------
    rights
        Who may see and do what.
    views
        Answers what is asked of the daemon as a whole.
    drain, resume, stop
        What those requests do; each returns the state that the daemon is then in.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        store: Store,
        jobs: JobQueue,
        sessions: Sessions,
        rights: Rights,
        views: DaemonViews,
        drain: Callable[[], str],
        resume: Callable[[], str],
        stop: Callable[[], str],
    ) -> None:
        self._loop = loop
        self._store = store
        self._jobs = jobs
        self._sessions = sessions
        self._rights = rights
        self._views = views
        self._drain = drain
        self._resume = resume
        self._stop = stop
        self._waits: list[_Wait] = []
        jobs.on_end(self._ended)

    def handle(self, client: Asker, message: Message) -> None:
        """Answer one request, now or (`wait`) later."""
        try:
            request = FROM_COMMAND.decode(message)
        except FrameInvalid as error:
            client.send(Refused(code=error.code, text=str(error)))
        else:
            self._respond(client, request)

    def gone(self, client: Asker) -> None:
        """A client has left; nobody waits for its jobs any more, but they go on."""
        self._waits = [wait for wait in self._waits if wait.client is not client]
        self._views.gone(client)

    def tick(self, now: float) -> None:
        """End waits whose time is over, and pass progress and news on."""
        self._views.tick(now)
        for wait in list(self._waits):
            if now >= wait.until:
                self._waits.remove(wait)
                self._reply_job(wait)
                continue
            progress = self._jobs.progress(wait.job_id)
            if progress is not None and progress != wait.last_progress:
                wait.last_progress = progress
                wait.client.send(JobProgress(job_id=wait.job_id, text=progress.text, fraction=progress.fraction))
                wait.next_beat = now + HEARTBEAT_S
            elif now >= wait.next_beat:
                wait.client.send(Heartbeat())
                wait.next_beat = now + HEARTBEAT_S

    def _respond(self, client: Asker, request: Request) -> None:
        try:
            reply = self._answer(client, request)
        except CryobridgeError as error:
            # Where the database is stands in the error's own words.
            hidden = error.code == Code.STORE and not self._rights.operates(client.uid)
            client.send(Refused(code=error.code, text=STORE_TROUBLE if hidden else str(error)))
            return
        if reply is not None:
            client.send(RequestReply(answer=reply))

    def _answer(self, client: Asker, request: Request) -> Message | None:
        match request:
            case AskStatus():
                return self._views.status(client.uid)
            case AskProcesses():
                return self._views.processes(client.uid)
            case AskMetrics():
                return self._views.metrics()
            case AskSettings():
                return self._views.settings(client.uid)
            case FollowNews():
                self._views.follow(client, once=request.once)
                return None
            case ListJobs():
                return self._list(client, request)
            case ReadLog():
                return self._logs(client, request.job_id)
            case CancelJob():
                return self._cancel(client, request.job_id)
            case SubmitJob():
                job = self._jobs.submit(request.spec, client.uid)
                return {"job_id": job.id, "state": job.state.value}
            case WaitForJob():
                return self._wait(client, request)
            case DrainDaemon() | ResumeDaemon():
                self._rights.check_operates(client.uid)
                return {"state": self._drain() if isinstance(request, DrainDaemon) else self._resume()}
            case StopDaemon():
                self._rights.check_owns(client.uid)
                return {"state": self._stop()}
            case PrepareRefinement():
                return self._prepare(client, request)
            case ReleaseRefinement():
                return self._release(client, request.session)
            case _:
                assert_never(request)

    # ---- what can be asked

    def _job(self, client: Asker, job_id: str) -> StoredJob:
        exact = self._store.get(job_id)
        found = [exact] if exact else self._store.beginning_with(job_id) if len(job_id) >= LEAST_ID_CHARACTERS else []
        mine = [job for job in found if self._rights.sees(client.uid, job.uid)]
        if len(mine) != 1:
            raise InputInvalid(f"there is no job {job_id[:64]} of yours; 'cryobridge jobs' lists them")
        return mine[0]

    def _list(self, client: Asker, wanted: ListJobs) -> Message:
        mine = wanted.mine or not self._rights.operates(client.uid)
        found = self._store.newest(wanted.limit, uid=client.uid if mine else None, state=wanted.state, kind=wanted.kind)
        return {"jobs": [summary(job) for job in found]}

    def _logs(self, client: Asker, job_id: str) -> Message:
        job = self._job(client, job_id)
        events = self._store.events(job.id)
        return {
            "job_id": job.id,
            "lines": [f"{_clock_time(event.at)} {event.type} {event.text}".rstrip() for event in events],
        }

    def _cancel(self, client: Asker, job_id: str) -> Message:
        job = self._job(client, job_id)
        if job.kind == RELION_KIND:
            self._sessions.cancel(job.id)
            return {"job_id": job.id, "state": self._job(client, job.id).state.value}
        cancelled = self._jobs.cancel(job.id)
        return {"job_id": job.id, "state": None if cancelled is None else cancelled.state.value}

    def _wait(self, client: Asker, request: WaitForJob) -> Message | None:
        job = self._job(client, request.job_id)
        limit_s = MAX_WAIT_S if request.timeout_s is None else min(MAX_WAIT_S, request.timeout_s)
        if job.state in TERMINAL or limit_s <= 0:
            return summary(job)
        if sum(wait.client is client for wait in self._waits) >= MAX_WAITS:
            raise JobRejected(f"one connection waits for {MAX_WAITS} jobs at most; open another")
        now = self._loop.time()
        self._waits.append(_Wait(client, job.id, now + limit_s, now + HEARTBEAT_S))
        return None

    def _prepare(self, client: Asker, request: PrepareRefinement) -> Message:
        self._rights.check_owns(client.uid)  # it names files that the daemon then opens
        self._sessions.prepare(PrepareSession(**request.as_values()), client.uid)
        return {"session": request.session}

    def _release(self, client: Asker, named: str) -> Message:
        for session in (named, session_name(client.uid, named)):
            owner = self._sessions.owner(session)
            if owner is not None and self._rights.sees(client.uid, owner):
                return {"session": session, "released": self._sessions.release(session)}
        raise InputInvalid(f"there is no refinement {named[:200]} of yours; 'cryobridge ps' lists them")

    # ---- inside

    def _ended(self, job_id: str) -> None:
        for wait in [wait for wait in self._waits if wait.job_id == job_id]:
            self._waits.remove(wait)
            self._reply_job(wait)

    def _reply_job(self, wait: _Wait) -> None:
        """The job as it is now, to who has waited for it."""
        self._respond(wait.client, WaitForJob(job_id=wait.job_id, timeout_s=0.0))


def _clock_time(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
