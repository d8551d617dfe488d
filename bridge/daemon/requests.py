"""What commands may ask the daemon, and who may ask it.

Owners and root (and the user the daemon runs as) see and cancel; others see counts.
"""

from __future__ import annotations

import asyncio
import datetime
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from cryobridge.schemas.errors import CryobridgeError, InputInvalid, JobRejected
from cryobridge.schemas.state import TERMINAL
from cryobridge.schemas.wire import HEARTBEAT_S, Message

from ..queue.store import RELION_KIND, Store, StoredJob
from ..queue.submitted import JobQueue, summary
from ..refinements.pairing import Sessions
from .health import Health

MAX_JOBS_SHOWN = 10_000
MAX_WAIT_S = 86_400.0


class Asker(Protocol):
    """A connected command."""

    @property
    def uid(self) -> int:
        """Its user, as the kernel knows it."""

    def send(self, message: Message) -> None:
        """Queue a frame."""


@dataclass(eq=False)
class _Wait:
    client: Asker
    job_id: str
    until: float
    next_beat: float
    last_progress: Message | None = None


class RequestHandler:
    """Answers request frames.

    Parameters
    ----------
    status
        Gives the fields that describe the daemon itself.
    drain, stop
        What those requests do.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        store: Store,
        jobs: JobQueue,
        sessions: Sessions,
        status: Callable[[], Message],
        health: Callable[[], Health],
        drain: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._store = store
        self._jobs = jobs
        self._sessions = sessions
        self._status_fields = status
        self._health = health
        self._drain = drain
        self._stop = stop
        self._waits: list[_Wait] = []
        self._answers: dict[str, Callable[[Asker, Message], Message | None]] = {
            "status": self._status,
            "ps": self._ps,
            "jobs": self._list,
            "logs": self._logs,
            "cancel": self._cancel,
            "submit": self._submit,
            "wait": self._wait,
            "drain": self._operate(self._drain),
            "stop": self._operate(self._stop),
            "prepare": self._prepare,
            "release": self._release,
        }
        jobs.on_end(self._ended)

    def handle(self, client: Asker, message: Message) -> None:
        """Answer one request, now or (`wait`) later."""
        answer = self._answers.get(message["type"])
        try:
            if answer is None:
                raise JobRejected(f"there is no request '{message['type']}'")
            reply = answer(client, message)
        except CryobridgeError as error:
            client.send({"type": "error", "ok": False, "code": error.code, "text": str(error)})
            return
        if reply is not None:
            client.send({"type": "reply", "ok": True, **reply})

    def gone(self, client: Asker) -> None:
        """A client has left; nobody waits for its jobs any more, but they go on."""
        self._waits = [wait for wait in self._waits if wait.client is not client]

    def tick(self, now: float) -> None:
        """End waits whose time is over, and pass progress on."""
        for wait in list(self._waits):
            if now >= wait.until:
                self._waits.remove(wait)
                self._reply_job(wait.client, wait.job_id)
                continue
            progress = self._jobs.progress(wait.job_id)
            if progress is not None and progress != wait.last_progress:
                wait.last_progress = progress
                wait.client.send({"type": "progress", "job_id": wait.job_id, **progress})
                wait.next_beat = now + HEARTBEAT_S
            elif now >= wait.next_beat:
                wait.client.send({"type": "heartbeat"})
                wait.next_beat = now + HEARTBEAT_S

    # ---- who may

    def _sees(self, client: Asker, uid: int) -> bool:
        return client.uid in (uid, 0, os.getuid())

    def _job(self, client: Asker, message: Message) -> StoredJob:
        job_id = message.get("job_id")
        if not isinstance(job_id, str):
            raise InputInvalid("'job_id' is missing")
        job = self._store.get(job_id)
        if job is None or not self._sees(client, job.uid):
            raise InputInvalid(f"there is no job {job_id[:64]} of yours; 'cryobridge jobs' lists them")
        return job

    def _operate(self, action: Callable[[], None]) -> Callable[[Asker, Message], Message]:
        def answer(client: Asker, _message: Message) -> Message:
            if not self._sees(client, os.getuid()):
                raise JobRejected("only the daemon's user and root may do that")
            action()
            return {"state": self._status_fields()["state"]}

        return answer

    # ---- what can be asked

    def _status(self, client: Asker, _message: Message) -> Message:
        fallback = self._sessions.last_fallback
        visible = fallback is not None and self._sees(client, fallback.uid)
        sessions = [one for one in self._sessions.snapshot() if self._sees(client, one["uid"])]
        health = self._health()
        fields = self._status_fields()
        if not self._sees(client, os.getuid()):
            fields["workers"] = [
                {key: worker[key] for key in ("name", "device", "device_name", "state")} for worker in fields["workers"]
            ]
        return {
            **fields,
            "health": asdict(health),
            "sessions": sessions,
            "queue": {**self._store.counts(), "open_calls": self._sessions.open_calls},
            "last_fallback": asdict(fallback) if visible and fallback is not None else None,
        }

    def _ps(self, client: Asker, _message: Message) -> Message:
        iterations = [one for one in self._sessions.running() if self._sees(client, one["uid"])]
        jobs = [
            {
                **{key: value for key, value in summary(job).items() if key in ("job_id", "kind", "uid", "state")},
                "progress": self._jobs.progress(job.id),
            }
            for job in (*self._store.running(), *self._store.queued())
            if job.kind != RELION_KIND and self._sees(client, job.uid)
        ]
        sessions = [one for one in self._sessions.snapshot() if self._sees(client, one["uid"])]
        return {"processes": iterations + jobs, "sessions": sessions}

    def _list(self, client: Asker, message: Message) -> Message:
        limit = message.get("limit", 20)
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_JOBS_SHOWN:
            raise InputInvalid(f"'limit' must be a number from 1 to {MAX_JOBS_SHOWN}")
        return {"jobs": [summary(job) for job in self._store.newest(limit) if self._sees(client, job.uid)]}

    def _logs(self, client: Asker, message: Message) -> Message:
        job = self._job(client, message)
        events = self._store.events(job.id)
        return {
            "job_id": job.id,
            "lines": [f"{_clock_time(event.at)} {event.type} {event.text}".rstrip() for event in events],
        }

    def _cancel(self, client: Asker, message: Message) -> Message:
        job = self._job(client, message)
        if job.kind == RELION_KIND:
            self._sessions.cancel(job.id)
            return {"job_id": job.id, "state": self._job(client, message).state.value}
        cancelled = self._jobs.cancel(job.id)
        return {"job_id": job.id, "state": None if cancelled is None else cancelled.state.value}

    def _submit(self, client: Asker, message: Message) -> Message:
        job = self._jobs.submit(message.get("spec"), client.uid)
        return {"job_id": job.id, "state": job.state.value}

    def _wait(self, client: Asker, message: Message) -> Message | None:
        job = self._job(client, message)
        timeout = message.get("timeout_s")
        limit_s = MAX_WAIT_S
        if isinstance(timeout, int | float) and not isinstance(timeout, bool):
            limit_s = min(MAX_WAIT_S, max(0.0, float(timeout)))
        if job.state in TERMINAL or limit_s == 0:
            return summary(job)
        now = self._loop.time()
        self._waits.append(_Wait(client, job.id, now + limit_s, now + HEARTBEAT_S))
        return None

    def _prepare(self, client: Asker, message: Message) -> Message:
        session = _session(message)
        if not self._sees(client, os.getuid()):
            raise JobRejected("only the daemon's user and root may do that")
        fields = {key: value for key, value in message.items() if key not in ("type", "session")}
        self._sessions.prepare(session, client.uid, fields, [])
        return {"session": session}

    def _release(self, client: Asker, message: Message) -> Message:
        session = _session(message)
        owner = self._sessions.owner(session)
        if owner is None or not self._sees(client, owner):
            raise InputInvalid(f"there is no refinement {session[:200]} of yours; 'cryobridge ps' lists them")
        return {"session": session, "released": self._sessions.release(session)}

    # ---- inside

    def _ended(self, job_id: str) -> None:
        for wait in [wait for wait in self._waits if wait.job_id == job_id]:
            self._waits.remove(wait)
            self._reply_job(wait.client, job_id)

    def _reply_job(self, client: Asker, job_id: str) -> None:
        self.handle(client, {"type": "wait", "job_id": job_id, "timeout_s": 0})


def _session(message: Message) -> str:
    session = message.get("session")
    if not isinstance(session, str) or not session or not Path(session).is_absolute():
        raise InputInvalid("'session' must be the job folder and output root, e.g. /project/Refine3D/job012/run")
    return session


def _clock_time(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
