"""The cluster as the queue sees it: it takes tasks and gives them up, as the pool of this machine does."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from cryobridge.schemas.codes import Code
from cryobridge.schemas.envelope import Job
from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.slurm import SlurmConfig
from cryobridge.schemas.state import TERMINAL
from cryobridge.schemas.worker_messages import JobTask

from ..pool.place import Task
from ..queue.rows import StoredJob
from .commands import Run, SlurmCommands, run_program
from .file_thread import FileThread
from .following import ClusterSurroundings, Following
from .queue_view import QueueView
from .script import demand_of
from .spool import Spool
from .template import read_template

log = logging.getLogger(__name__)


class SlurmWorkers:
    """Hands jobs to SLURM and follows them.

    Parameters
    ----------
    loop
        The daemon's.
    config
        The operator's settings.
    state
        The daemon's state folder; the spool is in it unless the settings say another place.
    run
        How SLURM's programs are run; tests have their own.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, config: SlurmConfig, state: Path, run: Run = run_program
    ) -> None:
        self._loop = loop
        self._config = config
        commands = SlurmCommands(config, run)
        spool = Spool(config.folder_in(state), f"{socket.gethostname()}:{state.absolute()}")
        queue = QueueView(commands, config.poll_s, loop.time)
        self._around = ClusterSurroundings(config, commands, queue, spool, FileThread(), loop.time)
        self._followed: dict[str, tuple[Following, asyncio.Task[None]]] = {}
        self._chores: set[asyncio.Task[None]] = set()

    def check(self, job: Job) -> None:
        """See whether a job can be handed to SLURM from here, as far as that can be known before.

        Raises
        ------
        JobRejected
            If there is no SLURM here, or the job asks for what it cannot use.
        InputInvalid
            If the operator's template cannot be used.
        """
        self._around.commands.check()
        demand_of(job, self._config)
        read_template(self._config.template)

    def submit(self, task: Task) -> None:
        """Take a job over: hand it to SLURM, or follow it where it is there already."""
        if not isinstance(task.frame, JobTask):
            raise TypeError(f"{task.id}: SLURM does jobs only")
        following = Following(task, task.frame, self._around)
        at_work = self._loop.create_task(following.run())
        self._followed[task.id] = (following, at_work)
        at_work.add_done_callback(lambda done: self._ended(task, done))

    def cancel(self, task: Task, *, detach: bool = True) -> None:
        """Give a task up.

        One that is detached goes on in SLURM, and is found there when it is handed over again: the daemon ends, not
        the job. Else it is made to stop, and its owner hears of its end.
        """
        following, at_work = self._followed.get(task.id, (None, None))
        if following is None or at_work is None:
            return
        if detach:
            task.owner = None
            at_work.cancel()
        else:
            following.cancel()

    def forget(self, job_id: str) -> None:
        """Remove what is kept of a job that has ended."""
        self._do(self._around.files.do(partial(self._around.spool.forget, job_id)))

    def tidy(self, stored: Callable[[str], StoredJob | None]) -> None:
        """End what a daemon that was killed has left in SLURM of jobs that nobody waits for any more.

        A job that the queue does not know is left alone as long as it may run: the queue may have lost it.

        Parameters
        ----------
        stored
            Gives a job of the queue by its id.
        """
        self._do(self._tidied(stored))

    async def _tidied(self, stored: Callable[[str], StoredJob | None]) -> None:
        files = self._around.files
        for job_id, folder in await files.do(self._around.spool.own):
            job = stored(job_id)
            seen = await files.do(folder.look)
            has_ended = seen.result is not None or seen.failure is not None
            if (job is not None and job.state not in TERMINAL) or (job is None and not has_ended):
                continue
            noted = await files.do(folder.noted)
            if not has_ended and noted is not None and noted.number is not None:
                log.warning("ended in SLURM, since nobody waits for it", extra={"job_id": job_id})
                await files.do(folder.ask_to_stop)
                await self._around.commands.cancel(noted.number)
            await files.do(partial(self._around.spool.forget, job_id) if job is not None else folder.remove)

    def _do(self, chore: Awaitable[None]) -> None:
        async def done() -> None:
            try:
                await chore
            except (OSError, CryobridgeError) as error:
                log.warning("spool folder not tidied", extra={"error": str(error)})

        task = self._loop.create_task(done())
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    def _ended(self, task: Task, done: asyncio.Task[None]) -> None:
        self._followed.pop(task.id, None)
        if done.cancelled() or (error := done.exception()) is None:
            return
        log.error("a job in SLURM is not followed any more", exc_info=error, extra={"task": task.id})
        owner, task.owner = task.owner, None
        task.busy = False
        if owner is not None:
            owner.task_lost(task, Code.FAILED, f"{type(error).__name__}: {error}")
