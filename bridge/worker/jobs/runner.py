"""Jobs of the job schema as generators of steps; each writes its output folder, `result.json` last."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Generator
from typing import Any

import torch
import yaml

from cryobridge.schemas.envelope import Job
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import check_paths, parse_job
from cryobridge.schemas.result import read_result
from cryobridge.schemas.wire import Message

from ..loop import Progress
from .folder import JOB_NAME, OutputFolder

JobSteps = Generator[Progress | None, None, Message]
Runner = Callable[[Any, torch.device, OutputFolder], JobSteps]

KINDS = "cryobridge.bridge.worker.kinds"
"""Kind `family.name` is run by the module `family.name` in here, loaded when the first such job comes."""


def run_job(spec: object, device: torch.device) -> JobSteps:
    """Run one job; return its result as JSON values.

    Raises
    ------
    InputInvalid, JobRejected
        If the job or one of its files cannot be used.
    """
    job = parse_job(spec, "job")
    finished = _finished_before(job)
    if finished is not None:
        yield Progress("an earlier attempt had finished this job", 1.0)
        return finished
    check_paths(job)
    runner: Runner = importlib.import_module(f"{KINDS}.{job.kind}").run
    threads = torch.get_num_threads()
    torch.set_num_threads(job.run.threads or threads)
    try:
        folder = OutputFolder(job, device, writes=int(os.environ.get("RANK", "0")) == 0)
        try:
            return (yield from _noted(runner(job, device, folder), folder))
        except Exception as error:
            folder.failed(str(error))
            raise
        finally:
            folder.close()
    finally:
        torch.set_num_threads(threads)


def _noted(steps: JobSteps, folder: OutputFolder) -> JobSteps:
    """Pass the steps on, and keep what is said at every tenth of the way in the folder's log."""
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
                folder.progressed(progress.text)
            yield progress


def _finished_before(job: Job) -> Message | None:
    """The result of this very request, where it was finished and only the word of it was lost with the daemon.

    Only a request that is named can be told from another that happens to read the same.
    """
    if job.run.request_id is None:
        return None
    try:
        if yaml.safe_load((job.output / JOB_NAME).read_text()) != job.as_spec():
            return None
        return read_result(job.output).model_dump(mode="json", by_alias=True)
    except (OSError, yaml.YAMLError, InputInvalid):
        return None


def result_line(result: dict[str, Any]) -> str:
    """One line for a terminal about a finished job."""
    metrics = result.get("metrics", {})
    figures = ", ".join(f"{key} {value:g}" for key, value in metrics.items() if isinstance(value, int | float))
    return f"{result.get('kind')}: {figures}"
