"""One job in SLURM, from the moment it is handed over until it is known what became of it.

Its spool folder is the memory: whoever follows it, this daemon or the next, goes on from what is there. It is handed
to SLURM once: under a name that is looked for before it would be handed over again, and should two SLURM jobs begin all
the same, the first to claim the folder does the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from cryobridge.schemas.codes import Code
from cryobridge.schemas.errors import InputInvalid, JobRejected
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.slurm import SlurmConfig
from cryobridge.schemas.spool import SpooledJob, Submission
from cryobridge.schemas.validation import clipped
from cryobridge.schemas.worker_messages import JobDone, JobTask, TaskFailed, TaskProgress

from ..pool.place import Task
from .commands import SlurmCommands, SlurmUnavailable
from .file_thread import FileThread
from .queue_view import QueueView
from .script import script_of
from .spool import Spool, SpoolFiles, SpoolFolder
from .states import SlurmJob, Standing
from .verdicts import AttemptEnd, Ruling, SeenAttempt, judge

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""How often the spool folder is looked at."""
CANCEL_PATIENCE_S = 10.0
"""So long a worker has to stop by itself, before SLURM ends it."""
RETRY_S = 10.0
"""After which SLURM is asked again that did not answer."""


@dataclass(frozen=True)
class ClusterSurroundings:
    """What every job that is followed shares; `pause` waits for so many seconds, `clock` tells them."""

    config: SlurmConfig
    commands: SlurmCommands
    queue: QueueView
    spool: Spool
    files: FileThread
    clock: Callable[[], float]
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep


class Following:
    """One task, followed.

    Parameters
    ----------
    task
        A job's; its owner hears of it as of a task of the pool.
    around
        What it shares with others.
    """

    def __init__(self, task: Task, frame: JobTask, around: ClusterSurroundings) -> None:
        self._task = task
        self._frame = frame
        self._around = around
        self._cancelled_at: float | None = None
        self._told_to_stop = False
        self._scancelled_at = float("-inf")
        self._said: tuple[str, float | None] | None = None
        self._beat = b""
        self._heard_at = self._over_since = around.clock()

    def cancel(self) -> None:
        """Have the job stop; whoever owns it hears of its end."""
        if self._cancelled_at is None:
            self._cancelled_at = self._around.clock()

    async def run(self) -> None:
        """Follow the job to its end, and tell its owner."""
        try:
            ruling = await self._to_its_end()
        except (JobRejected, InputInvalid) as error:
            ruling = Ruling(AttemptEnd.FAILED, error.code, str(error))
        except OSError as error:
            where = error.filename or "the spool folder"
            ruling = Ruling(AttemptEnd.FAILED, Code.FAILED, f"{where}: {error.strerror}; see slurm.folder")
        self._tell(ruling)

    async def _to_its_end(self) -> Ruling:
        around = self._around
        folder = await around.files.do(partial(around.spool.newest, self._frame.task.removeprefix("job-")))
        while (ruling := await self._attempt(folder)).outcome is AttemptEnd.AGAIN:
            self._say(ruling.text)
            await self._fence(folder)
            folder = around.spool.after(folder)
        if ruling.outcome is AttemptEnd.LOST:
            await self._fence(folder)
            words = await around.files.do(folder.last_words)
            more = f"its last words: {words}" if words else f"the node may not see {folder.path} (slurm.folder)"
            ruling = replace(ruling, text=f"{ruling.text}; {more}")
        return ruling

    # ---- one SLURM job

    async def _attempt(self, folder: SpoolFolder) -> Ruling:
        number = await self._number(folder)
        if number is None:
            return Ruling(AttemptEnd.CANCELLED, Code.CANCELLED, "cancelled before it was handed to SLURM")
        self._heard_at = self._over_since = submitted_at = self._around.clock()
        self._told_to_stop, self._scancelled_at = False, float("-inf")
        was_over = False
        while True:
            try:
                files = await self._around.files.do(folder.look)
            except OSError as error:
                log.warning("spool folder not read", extra={"folder": str(folder.path), "error": str(error)})
                await self._around.pause(RETRY_S)
                continue
            if files.claim is not None and files.claim.number is not None:
                # Should there be two, this is the one that does it.
                number = files.claim.number
            answer = await self._around.queue.look()
            job = answer.jobs.get(number)
            seen = self._seen(
                files, number, job, gone=self._is_gone(job, answer.problem, answer.asked_at, submitted_at)
            )
            is_over = seen.standing is not None and seen.standing.is_end
            if is_over and not was_over:
                self._over_since = self._around.clock()
                seen = self._seen(files, number, job, gone=seen.gone)
            was_over = is_over
            self._show(seen)
            if (verdict := judge(seen)) is not None:
                return verdict
            if self._cancelled_at is not None:
                await self._stop(folder, seen)
            await self._around.pause(LOOK_S)

    async def _number(self, folder: SpoolFolder) -> int | None:
        """The job's number in SLURM, to which it is handed unless it was already; None if it was cancelled before."""
        around, name = self._around, folder.slurm_name
        job = parse_job(self._frame.spec, "job")
        script = script_of(job, self._frame.job_id, name, folder.path, around.config)
        spooled = SpooledJob(job_id=self._frame.job_id, owner=around.spool.owner, spec=self._frame.spec)
        known = await around.files.do(partial(folder.begin, spooled, script))
        noted = await around.files.do(folder.noted)
        while known.number is None:
            try:
                # It may have been handed over by who was killed before the answer was written down.
                found = None if noted is None else await around.queue.find(name, around.clock())
                claim = None if noted is None else (await around.files.do(folder.look)).claim
                number = found.number if found is not None else None if claim is None else claim.number
                if number is None:
                    if self._cancelled_at is not None:
                        return None
                    noted = Submission(name=name)
                    await around.files.do(partial(folder.note, noted))
                    number = await around.commands.submit(folder.script)
                known = Submission(name=name, number=number)
                await around.files.do(partial(folder.note, known))
                log.info("job is in SLURM", extra={"job_id": self._frame.job_id, "slurm_job": number})
            except SlurmUnavailable as error:
                self._say(f"SLURM does not answer, and is asked again: {error}")
                await around.pause(RETRY_S)
        return known.number

    def _is_gone(self, job: SlurmJob | None, problem: str | None, asked_at: float, submitted_at: float) -> bool:
        return job is None and problem is None and asked_at > submitted_at

    def _seen(self, files: SpoolFiles, number: int, job: SlurmJob | None, *, gone: bool) -> SeenAttempt:
        now = self._around.clock()
        if files.beat != self._beat:
            self._beat, self._heard_at = files.beat, now
        cancelling = self._cancelled_at is not None
        return SeenAttempt(files, number, job, gone, now - self._over_since, now - self._heard_at, cancelling)

    # ---- what is done about it

    async def _stop(self, folder: SpoolFolder, seen: SeenAttempt) -> None:
        """Ask the worker; end the job in SLURM where there is no worker yet, or where it does not stop in time."""
        if not self._told_to_stop:
            self._told_to_stop = True
            await self._around.files.do(folder.ask_to_stop)
        now = self._around.clock()
        has_begun = self._task.busy
        late = now - (self._cancelled_at or now) >= CANCEL_PATIENCE_S
        is_over = seen.standing is not None and seen.standing.is_end
        if is_over or (has_begun and not late) or now - self._scancelled_at < CANCEL_PATIENCE_S:
            return
        self._scancelled_at = now
        try:
            await self._around.commands.cancel(seen.number)
        except SlurmUnavailable as error:
            log.warning("not cancelled in SLURM yet", extra={"slurm_job": seen.number, "error": str(error)})

    async def _fence(self, folder: SpoolFolder) -> None:
        """Have a worker that was given up stop, should it live somewhere all the same."""
        try:
            await self._around.files.do(folder.ask_to_stop)
        except OSError as error:
            log.warning("a lost worker is not told", extra={"folder": str(folder.path), "error": str(error)})

    def _tell(self, ruling: Ruling) -> None:
        """Tell the owner what became of the job."""
        task = self._task
        had_begun, task.busy = task.busy, False
        owner, task.owner = task.owner, None
        if owner is None:
            return
        if ruling.outcome is AttemptEnd.DONE:
            owner.task_frame(task, JobDone(task=task.id, result=dict(ruling.result)))
        elif ruling.outcome is AttemptEnd.FAILED or (ruling.outcome is AttemptEnd.CANCELLED and had_begun):
            owner.task_frame(task, TaskFailed(task=task.id, code=ruling.code, text=clipped(ruling.text)))
        else:
            owner.task_lost(task, ruling.code, clipped(ruling.text))

    def _show(self, seen: SeenAttempt) -> None:
        """Say how far the job is; it has begun when its worker has taken it."""
        if seen.files.claim is not None:
            self._task.busy = True
        progress = seen.files.progress
        if progress is not None:
            self._say(progress.text, progress.fraction)
        elif seen.standing is Standing.RUNS:
            nodes = "" if seen.job is None else f" on {seen.job.nodes}"
            self._say(f"SLURM job {seen.number} starts{nodes}")
        elif seen.standing is Standing.WAITS:
            reason = f" ({seen.job.reason})" if seen.job is not None and seen.job.reason else ""
            self._say(f"SLURM job {seen.number} waits in SLURM's queue{reason}")

    def _say(self, text: str, fraction: float | None = None) -> None:
        if self._said != (text, fraction) and self._task.owner is not None:
            self._said = (text, fraction)
            self._task.owner.task_frame(self._task, TaskProgress(task=self._task.id, text=text, fraction=fraction))
