"""Jobs of the job schema as generators of steps; each writes its output folder, `result.json` last."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from collections.abc import Callable, Generator
from typing import Any

import torch

from cryobridge.core.training import ALONE, DeviceMover, Parking
from cryobridge.schemas.envelope import JOB_NAME, Job
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import check_paths, parse_job
from cryobridge.schemas.jobfile import read_own_job
from cryobridge.schemas.outputs import undeclared
from cryobridge.schemas.result import read_result
from cryobridge.schemas.wire import Message

from ..loop import Progress
from ..ranks import ranks_from_environment
from .context import Context
from .deadline import Deadline
from .folder import OutputFolder
from .room import FreeMemory, shortages

log = logging.getLogger(__name__)

JobSteps = Generator[Progress | None, None, Message]
Runner = Callable[[Any, Context], JobSteps]

KINDS = "cryobridge.bridge.worker.kinds"
"""Kind `family.name` is run by the module `family.name` in here, loaded when the first such job comes."""
_REAL_MEMORY = FreeMemory()


def run_job(
    spec: object, device: torch.device, free: FreeMemory = _REAL_MEMORY, parking: Parking | None = None
) -> JobSteps:
    """Run one job; return its result as JSON values.

    Parameters
    ----------
    spec
        What was read from somewhere.
    device
        To compute on.
    free
        How free memory is found out, for a warning before the job starts.
    parking
        Where the job says what it keeps on the device; one of its own if None.

    Raises
    ------
    InputInvalid, JobRejected
        If the job or one of its files cannot be used.
    DeadlineExceeded
        If it takes longer than its `run.deadline_s`.
    """
    job = parse_job(spec, "job")
    finished = _finished_before(job)
    if finished is not None:
        yield Progress("an earlier attempt had finished this job", 1.0)
        return finished
    check_paths(job)
    runner = runner_of(job.kind)
    threads = torch.get_num_threads()
    torch.set_num_threads(job.run.threads or threads)
    try:
        context = _context(job, device, parking or Parking(DeviceMover(device)))
        try:
            for line in shortages(job, device, free):
                context.folder.log_once_begun(line)
                yield Progress(line)
            result = yield from _watched(runner(job, context), context)
            _complain(job, result)
            return result
        except Exception as error:
            context.folder.failed(str(error))
            raise
        finally:
            context.folder.close()
    finally:
        torch.set_num_threads(threads)


def runner_of(kind: str) -> Runner:
    """The function that does the jobs of a kind."""
    runner: Runner = importlib.import_module(f"{KINDS}.{kind}").run
    return runner


def _context(job: Job, device: torch.device, parking: Parking) -> Context:
    leads = int(os.environ.get("RANK", "0")) == 0
    return Context(
        device=device,
        folder=OutputFolder(job, device, writes=leads),
        ranks=ranks_from_environment(device) if job.shares_devices else ALONE,
        # One process tells the time for all: the others end with it.
        deadline=Deadline(job.run.deadline_s if leads else None),
        parking=parking,
    )


def _watched(steps: JobSteps, context: Context) -> JobSteps:
    """Pass the steps on, look at the clock, and keep what is said at every tenth of the way in the folder's log."""
    noted = -1
    with contextlib.closing(steps):
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                result: Message = end.value
                return result
            if progress is not None and progress.fraction is not None and int(10 * progress.fraction) > noted:
                noted = int(10 * progress.fraction)
                context.folder.progressed(progress.text)
            yield progress
            context.deadline.check()


def _complain(job: Job, result: Message) -> None:
    """Log where a job left other files than its kind declares: our mistake, and no reason to lose a result."""
    for complaint in undeclared(job.outputs, result.get("outputs", {})) if result else ():
        log.error("%s: %s", job.kind, complaint)


def _finished_before(job: Job) -> Message | None:
    """The result of this very request, where it was finished and only the word of it was lost, with worker or daemon.

    Only a request that is named can be told from another that happens to read the same; the daemon names every one.
    """
    if job.run.request_id is None or read_own_job(job.output / JOB_NAME) != job.as_spec():
        return None
    try:
        return read_result(job.output).model_dump(mode="json", by_alias=True)
    except InputInvalid:
        return None


def result_line(result: dict[str, Any]) -> str:
    """One line for a terminal about a finished job."""
    metrics = result.get("metrics", {})
    figures = ", ".join(f"{key} {value:g}" for key, value in metrics.items() if isinstance(value, int | float))
    return f"{result.get('kind')}: {figures}"
