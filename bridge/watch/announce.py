"""The daemon's side of the watcher: its thread asks, the loop's thread answers.

Everything that touches sessions, jobs or the store runs on the loop; the watcher only waits for the outcome.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cryobridge.schemas.config import DaemonConfig
from cryobridge.schemas.errors import DaemonUnavailable
from cryobridge.schemas.worker_messages import PrepareSession

from ..queue.store import Store
from ..queue.submitted import JobQueue
from ..refinements.call import session_name
from ..refinements.pairing import Sessions
from .thread import WatchThread

log = logging.getLogger(__name__)
T = TypeVar("T")

ANSWER_LIMIT_S = 30.0


class Watching:
    """Starts the watcher where there is something to watch, and serves it (`bridge.watch.thread.Announcements`)."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: DaemonConfig,
        sessions: Sessions,
        jobs: JobQueue,
        store: Store,
    ) -> None:
        self._loop = loop
        self._config = config
        self._sessions = sessions
        self._jobs = jobs
        self._store = store
        self._thread: WatchThread | None = None
        self._owners: dict[str, int] = {}
        """Who owns a watched refinement's folder; its calls come from that user. Touched by the watcher only."""

    def start(self) -> None:
        """Begin to watch, if any folder is configured."""
        config = self._config
        if config.watch_roots or config.inbox is not None:
            self._thread = WatchThread(self, config.watch_roots, config.inbox)
            self._thread.start()

    def stop(self) -> None:
        """End the watcher; its thread is not waited for, since it may be waiting for the loop."""
        if self._thread is not None:
            self._thread.stop(timeout_s=0.0)

    # ---- called from the watcher's thread

    def prepare(self, refinement: Mapping[str, Any]) -> None:
        """A refinement runs that will call."""
        name = str(refinement["session"])
        self._owners[name] = uid = _owner(name)
        known = {key: value for key, value in refinement.items() if key in PrepareSession.rules}
        frame = PrepareSession(**{**known, "session": session_name(uid, name)})
        self._tell(lambda: self._sessions.prepare(frame, uid))

    def progress(self, session: str, iteration: int) -> None:
        """A refinement has finished an iteration."""
        name = session_name(self._owners.get(session, os.getuid()), session)
        self._tell(lambda: self._sessions.progress(name, iteration))

    def release(self, session: str, reason: str) -> None:
        """A refinement has ended."""
        log.info("refinement ended", extra={"session": session, "reason": reason})
        name = session_name(self._owners.pop(session, os.getuid()), session)
        self._tell(lambda: self._sessions.release(name))

    def submit(self, spec: Mapping[str, Any]) -> str:
        """Store a job; return its id."""
        return self._ask(lambda: self._jobs.submit(dict(spec), os.getuid()).id)

    def find(self, request_id: str) -> str | None:
        """The id of the job that this request made."""

        def look() -> str | None:
            job = self._store.find_request(request_id, os.getuid())
            return None if job is None else job.id

        return self._ask(look)

    def state(self, job_id: str) -> Mapping[str, Any] | None:
        """State, reason and text of a job."""

        def look() -> Mapping[str, Any] | None:
            job = self._store.get(job_id)
            return None if job is None else {"state": job.state.value, "reason": job.reason, "text": job.text}

        return self._ask(look)

    # ---- inside

    def _tell(self, action: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:
            log.debug("the watcher spoke after the loop had ended")

    def _ask(self, question: Callable[[], T]) -> T:
        """Run `question` on the loop and return what it returns or raise what it raises."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def answer() -> None:
            try:
                future.set_result(question())
            except Exception as error:  # noqa: BLE001 - it is raised again in the watcher's thread
                future.set_exception(error)

        self._tell(answer)
        try:
            return future.result(ANSWER_LIMIT_S)
        except TimeoutError as error:
            raise DaemonUnavailable("the daemon is stopping") from error


def _owner(session: str) -> int:
    try:
        return Path(session).parent.stat().st_uid
    except OSError:
        return os.getuid()
