"""The daemon process: puts the parts together, and stops them in order.

Never imports torch: that lives in the workers, which may crash without harm to anything here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
import uuid
from pathlib import Path

from cryobridge import __version__
from cryobridge.schemas.codes import Code
from cryobridge.schemas.config import DaemonConfig, Loaded
from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.wire import EXIT_FAILED, EXIT_OK, Message

from ..log_file import LOG_NAME
from ..pool.devices import worker_devices
from ..pool.place import Spawn
from ..pool.pool import Pool
from ..queue.incidents import Incidents
from ..queue.opening import open_store
from ..queue.store import Store, StoreUnavailable
from ..queue.submitted import JobQueue
from ..refinements.ledger import Books
from ..refinements.pairing import Sessions
from ..slurm.workers import SlurmWorkers
from ..watch.announce import Watching
from . import logs
from .health import Health, judge
from .listening import AlreadyRunning, ListeningSocket, listen, notify_systemd
from .requests import RequestHandler
from .server import Server

log = logging.getLogger(__name__)

TICK_S = 0.25
SAY_GOODBYE_S = 2.0
WORKERS_END_S = 5.0
WATCHDOG_S = 10.0


class Daemon:
    """One daemon, from its start to its end.

    Parameters
    ----------
    config
        As loaded.
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
        config: DaemonConfig,
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
        self._config = config
        self._listening = listening
        self._store = store
        self._folder = folder
        self._incidents = incidents
        self._unseen = incidents.problems()
        self._astray = astray
        self._loop = loop
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
        devices = worker_devices(config.devices)
        self.pool = Pool(
            loop,
            devices,
            config.deadlines,
            folder,
            keep_alive_s=config.keep_alive_s,
            spawn=spawn,
        )
        self._books = Books(store, loop.time)
        self.sessions = Sessions(self.pool, self._books, config.deadlines, loop.time, keep_alive_s=config.keep_alive_s)
        self._slurm = SlurmWorkers(loop, config.slurm, folder)
        self.jobs = self._job_queue(devices)
        self._requests = RequestHandler(
            loop, store, self.jobs, self.sessions, self.status, self.health, self.drain, self.leave
        )
        self.server = Server(
            loop,
            listening.sock,
            self.sessions,
            self._requests,
            self._welcome,
            self._daemon_id,
            os.getpid(),
            config.limits.connections,
        )
        self._watching = Watching(loop, config, self.sessions, self.jobs, store)

    def _job_queue(self, devices: list[str]) -> JobQueue:
        config, loop = self._config, self._loop
        jobs = JobQueue(
            self._store,
            self.pool,
            config.limits,
            config.job_roots,
            loop.time,
            devices,
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
        self.pool.start()
        self.jobs.resume()
        self._slurm.tidy(self._store.get)
        self.server.start()
        self._watching.start()
        self._loop.call_later(TICK_S, self._tick)
        notify_systemd("READY=1")
        log.info(
            "daemon ready",
            extra={"socket": str(self._listening.path), "version": __version__, "pid": os.getpid()},
        )

    def signalled(self) -> None:
        """A stop signal: the first lets calls finish, the second ends everything at once."""
        self._signals += 1
        self.leave()

    def drain(self) -> None:
        """Take no new calls; finish those that run."""
        if self._draining_since is None:
            self._draining_since = self._loop.time()
            log.info("draining", extra={"open_calls": self.sessions.open_calls})

    def leave(self) -> None:
        """Drain, then end."""
        self.drain()
        if not self._leaving:
            self._leaving = True
            notify_systemd("STOPPING=1")
            self._draining_since = self._loop.time()
            self.jobs.close()

    async def close(self) -> None:
        """Answer whoever still waits, end the workers, let everything go."""
        self.sessions.fail_all(Code.CANCELLED, "the daemon was stopped")
        self.pool.stop()
        end = self._loop.time() + SAY_GOODBYE_S
        while self.server.unsent and self._loop.time() < end:
            await asyncio.sleep(0.01)
        self.server.close()
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
            "state": "draining" if self._draining_since is not None else "ready",
            "version": __version__,
            "daemon_id": self._daemon_id,
            "pid": os.getpid(),
            "uptime_s": round(self._loop.time() - self._started, 1),
            "socket": str(self._listening.path),
            "state_dir": str(self._folder),
            "autospawned": self._autospawned,
            "clients": self.server.clients,
            "worker_restarts": self.pool.restarts,
            "workers": self.pool.snapshot(),
        }

    def health(self) -> Health:
        """Live, ready, degraded."""
        return judge(
            accepting=self._draining_since is None,
            worker_problem=self.pool.degraded,
            workers_broken=all(worker.broken for worker in self.pool.workers),
            store_problem=self._store_problem or self._books.problem or self.jobs.problem,
            socket_ours=self._listening.is_ours(),
            incidents=[text for text in (*self._unseen, self._astray) if text],
        )

    def _welcome(self) -> tuple[str, str]:
        if self._draining_since is not None:
            return "draining", "it is being stopped"
        if self.sessions.open_calls >= self._config.limits.calls:
            return "busy", f"{self._config.limits.calls} calls are under way"
        return "ready", ""

    # ---- the clock

    def _tick(self) -> None:
        now = self._loop.time()
        gap = now - self._last_tick
        if gap > 4 * TICK_S:
            # This process itself was stopped or starved: the workers' words are still in the sockets.
            self.pool.forgive(gap)
        self._last_tick = now
        try:
            self.pool.tick()
            self.sessions.tick(now)
            self.jobs.tick(now)
            self._books.tick(now)
            self._requests.tick(now)
            self._pulse(now)
            if self._is_over(now):
                self.done.set()
        finally:
            # Whatever a part did wrong (the loop logs it), the clock goes on.
            if not self.done.is_set():
                self._loop.call_later(TICK_S, self._tick)

    def _pulse(self, now: float) -> None:
        if now - self._last_pulse < WATCHDOG_S:
            return
        self._last_pulse = now
        self._unseen = self._incidents.problems()
        was, self._store_problem = self._store_problem, None
        if not self._store.writable():
            self._store_problem = "the database cannot be written; see the log and the disk's space"
            if was is None:
                log.error("database cannot be written", extra={"folder": str(self._folder)})
        notify_systemd("WATCHDOG=1")

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


def run(loaded: Loaded, *, autospawned: bool = False, spawn: Spawn | None = None) -> int:
    """Run a daemon until it is told to stop; return its exit code."""
    config = loaded.config
    os.umask(0o077)
    _raise_descriptor_limit()
    try:
        listening = listen(config.socket_path(), int(config.socket_mode, 8))
    except AlreadyRunning as error:
        sys.stderr.write(f"cryobridge: {error}\n")
        return EXIT_OK
    except CryobridgeError as error:
        sys.stderr.write(f"cryobridge: {error}\n")
        return EXIT_FAILED
    path = listening.path
    astray = ""
    try:
        folder = config.state_path()
        try:
            store, incidents = _open_store(folder, config.log_level, quiet=autospawned)
        except StoreUnavailable as error:
            if not autospawned:
                raise
            # A refinement must not go without its daemon because a home folder is read-only or full.
            folder = path.with_name(f"{path.name}.state")
            store, incidents = _open_store(folder, config.log_level, quiet=autospawned)
            log.warning("state kept beside the socket", extra={"folder": str(folder), "because": str(error)})
            astray = (
                f"the daemon serves refinements only, and takes no jobs because it could not keep them: {error}; "
                "then end it with 'cryobridge stop', the next one takes jobs"
            )
        return asyncio.run(_serve(config, listening, store, incidents, folder, autospawned, astray, spawn))
    except (CryobridgeError, OSError) as error:
        listening.close()
        sys.stderr.write(f"cryobridge: {error}\n")
        return EXIT_FAILED


def _open_store(folder: Path, log_level: str, *, quiet: bool) -> tuple[Store, Incidents]:
    """Make the folder, begin to log there (only warnings to stderr when `quiet`), open the database."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        logs.set_up(log_level, logs.usable(folder / LOG_NAME), "WARNING" if quiet else None)
    except OSError as error:
        raise StoreUnavailable(f"{folder}: {error.strerror or error}; set state_dir") from error
    return open_store(folder / "jobs.sqlite")


async def _serve(
    config: DaemonConfig,
    listening: ListeningSocket,
    store: Store,
    incidents: Incidents,
    folder: Path,
    autospawned: bool,
    astray: str,
    spawn: Spawn | None,
) -> int:
    loop = asyncio.get_running_loop()
    daemon = Daemon(
        config, listening, store, folder, incidents, loop, autospawned=autospawned, astray=astray, spawn=spawn
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.signalled)
    # A closed terminal must not end refinements.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    daemon.start()
    await daemon.done.wait()
    await daemon.close()
    return EXIT_OK


def _raise_descriptor_limit() -> None:
    """Every call brings a dozen descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
