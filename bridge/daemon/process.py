"""The daemon process: puts the parts together, and stops them in order.

Never imports torch: that lives in the workers, which may crash without harm to anything here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from pathlib import Path

from cryobridge import __version__
from cryobridge.schemas.codes import Code
from cryobridge.schemas.config import Loaded
from cryobridge.schemas.errors import JobRejected
from cryobridge.schemas.wire import Message

from ..pool.place import Spawn
from ..pool.watching import unvouched
from ..queue.incidents import Incidents
from ..queue.store import Store, StoreUnavailable
from ..queue.submitted import JobQueue
from ..refinements.ledger import Books
from ..refinements.pairing import Sessions
from ..slurm.workers import SlurmWorkers
from ..watch.announce import Watching
from .health import Health, judge
from .listening import ListeningSocket
from .outlook import Outlook
from .requests import RequestHandler
from .rights import Rights
from .server import Server
from .service_manager import ServiceManager
from .workforce import Workforce

log = logging.getLogger(__name__)

TICK_S = 0.25
SAY_GOODBYE_S = 2.0
WORKERS_END_S = 5.0


class Daemon:
    """One daemon, from its start to its end.

    Parameters
    ----------
    loaded
        The configuration.
    rights
        Who may see and do what.
    listening
        Its address, held.
    store, folder
        The database, and the folder that it and the logs are in.
    incidents
        What has happened to the database, as far as nobody has seen it yet.
    autospawned
        True when a hook started it: then it leaves by itself when nobody needs it.
    astray
        Why the database is not in the configured folder, or empty. Whoever starts next may find that folder again, and
        none of the jobs in this one; so none is taken.
    spawn
        How workers are started; tests give their own.
    """

    def __init__(
        self,
        loaded: Loaded,
        rights: Rights,
        listening: ListeningSocket,
        store: Store,
        folder: Path,
        incidents: Incidents,
        loop: asyncio.AbstractEventLoop,
        *,
        autospawned: bool = False,
        astray: str = "",
        spawn: Spawn | None = None,
    ) -> None:
        config = self._config = loaded.config
        self._listening = listening
        self._store = store
        self._folder = folder
        self._incidents = incidents
        self._unseen = incidents.problems()
        self._astray = astray
        self._loop = loop
        self._manager = ServiceManager()
        self._autospawned = autospawned
        self._daemon_id = str(uuid.uuid4())
        self._started = loop.time()
        self._draining_since: float | None = None
        self._leaving = False
        self._signals = 0
        self._last_tick = self._idle_since = loop.time()
        self._last_pulse = loop.time()
        self._store_problem: str | None = None
        self.done = asyncio.Event()
        self._workforce = Workforce(loop, config, folder, spawn)
        self.pool = self._workforce.pool
        self._books = Books(store, loop.time)
        self._outlook = Outlook(loop, loaded, rights, store, self._books)
        self.sessions = Sessions(
            self.pool, self._outlook.ledger, config.deadlines, loop.time, keep_alive_s=config.keep_alive_s
        )
        self._slurm = SlurmWorkers(loop, config.slurm, folder)
        self.jobs = self._job_queue()
        views = self._outlook.attach(self.jobs, self.sessions, self._workforce.devices or (), self.status, self.health)
        self._requests = RequestHandler(
            loop, store, self.jobs, self.sessions, rights, views, self.drain, self.resume, self.leave
        )
        self.server = Server(
            loop,
            listening.sock,
            self.sessions,
            self._requests,
            self._workforce.tenants,
            self._welcome,
            self._daemon_id,
            os.getpid(),
            config.limits.connections,
        )
        self._watching = Watching(loop, config, self.sessions, self.jobs, store)

    def _job_queue(self) -> JobQueue:
        force = self._workforce
        jobs = JobQueue(
            self._store,
            force.jobs,
            self._config.limits,
            self._loop.time,
            force.devices,
            refusing=self._astray,
            cluster=self._slurm,
        )
        jobs.on_end(self._slurm.forget)
        return jobs

    # ---- life

    def start(self) -> None:
        """Recover, start the workers, listen."""
        for job in self._store.recover():
            log.warning("job recovered", extra={"job_id": job.id, "kind": job.kind, "state": job.state.value})
        self._store.forget_finished(self._config.limits.finished_jobs_kept)
        self._outlook.start()
        self.pool.start()
        self.jobs.resume()
        self._slurm.tidy(self._store.get)
        self.server.start()
        self._watching.start()
        self._loop.call_later(TICK_S, self._tick)
        self._manager.ready()
        log.info(
            "daemon ready",
            extra={"socket": str(self._listening.path), "version": __version__, "pid": os.getpid()},
        )

    def signalled(self) -> None:
        """A stop signal: the first lets calls finish, the second ends everything at once."""
        self._signals += 1
        self.leave()

    @property
    def state(self) -> str:
        """In a word: ready or draining."""
        return "draining" if self._draining_since is not None else "ready"

    def drain(self) -> str:
        """Take no new calls and begin no jobs; finish what runs. Returns the state."""
        if self._draining_since is None:
            self._draining_since = self._loop.time()
            self._workforce.begin_jobs(False)
            log.info("draining", extra={"open_calls": self.sessions.open_calls})
        return self.state

    def resume(self) -> str:
        """Take calls again after a drain. Returns the state.

        Raises
        ------
        JobRejected
            If it is ending.
        """
        if self._leaving:
            raise JobRejected("the daemon is ending; start it again with 'cryobridge serve'")
        if self._draining_since is not None:
            self._draining_since = None
            self._workforce.begin_jobs(True)
            log.info("takes calls again")
        return self.state

    def leave(self) -> str:
        """Drain, then end. Returns the state."""
        self.drain()
        if not self._leaving:
            self._leaving = True
            self._draining_since = self._loop.time()
            self.jobs.close()
            self._manager.stopping(self._status_line())
        return self.state

    async def close(self) -> None:
        """Answer whoever still waits, end the workers, let everything go."""
        self.sessions.fail_all(Code.CANCELLED, "the daemon was stopped")
        self._workforce.close()
        end = self._loop.time() + SAY_GOODBYE_S
        while self.server.unsent and self._loop.time() < end:
            await asyncio.sleep(0.01)
        self.server.close()
        self._outlook.close()
        self._watching.stop()
        # The database before the address: whoever takes the address next opens the database at once.
        self._store.close()
        self._listening.close()
        end = self._loop.time() + (0.0 if self._signals > 1 else WORKERS_END_S)
        while self.pool.running and self._loop.time() < end:
            await asyncio.sleep(0.02)
        self.pool.kill()
        while self.pool.running and self._loop.time() < end + 1.0:
            await asyncio.sleep(0.02)
        log.info("daemon ended")

    # ---- what others ask

    def status(self) -> Message:
        """The daemon's own part of `status`."""
        return {
            "state": self.state,
            "version": __version__,
            "daemon_id": self._daemon_id,
            "pid": os.getpid(),
            "uptime_s": round(self._loop.time() - self._started, 1),
            "socket": str(self._listening.path),
            "state_dir": str(self._folder),
            "autospawned": self._autospawned,
            "clients": self.server.clients,
            "worker_restarts": self.pool.restarts,
            "workers": [worker.snapshot() for worker in self.pool.workers],
            "leases": [] if self._workforce.tenants is None else self._workforce.tenants.snapshot(),
            "jobs_only": self._config.jobs_only,
        }

    def health(self) -> Health:
        """Live, ready, degraded."""
        return judge(
            accepting=self._draining_since is None,
            worker_problem=self._workforce.problem,
            workers_broken=self.pool.is_broken,
            store_problem=self._store_problem or self._books.problem or self.jobs.problem,
            socket_ours=self._listening.is_ours(),
            incidents=[text for text in (*self._unseen, self._astray) if text],
        )

    def _welcome(self, uid: int) -> tuple[str, str]:
        if self._draining_since is not None:
            return "draining", "it is being stopped"
        if self._config.jobs_only:
            return "busy", "it runs jobs, and answers no calls"
        why = self.sessions.is_busy_for(uid, self._config.limits.calls)
        return ("busy", why) if why else ("ready", "")

    # ---- the clock

    def _tick(self) -> None:
        now = self._loop.time()
        gap = now - self._last_tick
        if gap > 4 * TICK_S:
            # This process itself was stopped or starved: the workers' words are still in the sockets.
            self._workforce.forgive(gap)
        self._last_tick = now
        try:
            self._workforce.tick(now)
            self.sessions.tick(now)
            self.jobs.tick(now)
            self._books.tick(now)
            self._outlook.tick(now)
            self._requests.tick(now)
            self._pulse(now)
            if self._is_over(now):
                self.done.set()
        finally:
            # Whatever a part did wrong (the loop logs it), the clock goes on.
            if not self.done.is_set():
                self._loop.call_later(TICK_S, self._tick)

    def _pulse(self, now: float) -> None:
        if now - self._last_pulse < self._manager.pulse_s:
            return
        self._last_pulse = now
        self._unseen = self._incidents.problems()
        was, self._store_problem = self._store_problem, None
        if not self._store.writable():
            self._store_problem = "the database cannot be written; see the log and the disk's space"
            if was is None:
                log.error("database cannot be written", extra={"folder": str(self._folder)})
        amiss = next((why for one in self.pool.workers if (why := unvouched(one, now, self._config.deadlines))), None)
        if self._store_problem is not None:
            amiss = "the database cannot be written"
        self._manager.pulse(amiss, self._status_line(), stopping=self._leaving)

    def _status_line(self) -> str:
        """For every user of the machine to read: no names, no paths."""
        state = "stopping" if self._leaving else "draining" if self._draining_since is not None else "ready"
        text = f"{state}, RELION calls under way: {self.sessions.open_calls}"
        with contextlib.suppress(StoreUnavailable):
            text += f", jobs waiting or running: {self._store.open_jobs()}"
        return f"{text}; not all is well, see 'cryobridge status'" if self.health().degraded else text

    def _is_over(self, now: float) -> bool:
        if self._leaving:
            since = self._draining_since if self._draining_since is not None else now
            late = now - since > self._config.deadlines.drain_s
            return self._signals > 1 or late or self.sessions.open_calls == 0
        if not self._autospawned or self._config.idle_exit_s <= 0:
            return False
        if self.sessions.alive() or self.jobs.busy or self.server.clients:
            self._idle_since = now
        idle_since = max(self._idle_since, self.sessions.last_call)
        if now - idle_since > self._config.idle_exit_s:
            log.info("idle, leaving", extra={"idle_s": round(now - idle_since)})
            return True
        return not self._listening.is_ours() and self.server.clients == 0
