"""`python -m cryobridge.bridge.worker.run JOBFILE`: run one job in the foreground, with no daemon.

Under `torchrun` every process but the first only helps with the training and says nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryobridge.schemas.errors import CryobridgeError, OptionsInvalid
from cryobridge.schemas.jobfile import load_job
from cryobridge.schemas.wire import EXIT_FAILED, EXIT_OK, EXIT_USAGE

from ..interrupted import EXIT_INTERRUPTED
from ..parent import end_with_parent
from ..progress import shown_progress
from ..spoken import as_typed, names_beside
from .one_job import device_of, no_collections, show_only

if TYPE_CHECKING:
    from cryobridge.schemas.envelope import Job


def main() -> int:
    """Run the job of a file; say how far it is on standard error, print its result as JSON with `--json`."""
    parser = argparse.ArgumentParser(prog="cryobridge run", description=__doc__)
    parser.add_argument("job", type=Path, help="job file, YAML or JSON")
    parser.add_argument("--base", type=Path, help="where relative paths of the job start (default: its own folder)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--borrowed-folder", action="store_true", help="do not say where the result lies")
    parser.add_argument("--json", action="store_true", help="print the whole result as JSON")
    arguments = parser.parse_args()
    rank = int(os.environ.get("RANK", "0"))
    if "RANK" in os.environ:
        end_with_parent()
    else:
        _end_quietly()
    try:
        job = load_job(arguments.job, base=arguments.base)
        if job.run.executor != "here":
            raise OptionsInvalid(
                "",
                "'executor: slurm' is for jobs that are submitted ('cryobridge submit', --submit); this would run here",
            )
        if rank > 0 and not job.shares_devices:
            return EXIT_OK
        result = _run(job, arguments.device, quiet=rank > 0)
    except CryobridgeError as error:
        if rank == 0:
            sys.stderr.write(f"{as_typed(str(error), names_beside(arguments.job))}\n")
        return EXIT_USAGE if isinstance(error, OptionsInvalid) else EXIT_FAILED
    if rank == 0:
        # torch takes seconds to load; only a job that has run needs what comes with it.
        from .jobs.runner import result_line

        sys.stdout.write(f"{json.dumps(result) if arguments.json else result_line(result)}\n")
        if not (arguments.json or arguments.borrowed_folder):
            sys.stdout.write(f"{_where(job)}\n")
    return EXIT_OK


def _end_quietly() -> None:
    """Let Ctrl-C end this process from now on; whoever started it says the words.

    Nothing is written yet, and an exception in the middle of an import comes out as some other one: it ends at once.
    """

    def end(_number: int, _frame: object) -> None:
        os._exit(EXIT_INTERRUPTED)

    signal.signal(signal.SIGINT, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _end_in_order() -> None:
    """Let Ctrl-C end this process with what has to be put in order, now that there is something."""

    def end(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.exit(EXIT_INTERRUPTED)

    if "RANK" not in os.environ:
        signal.signal(signal.SIGINT, end)


def _run(job: Job, wanted: str, *, quiet: bool) -> dict[str, Any]:
    if wanted == "auto":
        show_only(job.run.devices)
    # A job file that cannot be used is said at once, before torch takes its seconds to load.
    with no_collections():
        from .jobs.runner import run_job

    _end_in_order()
    steps = run_job(job.as_spec(), device_of(job, wanted))
    shown: AbstractContextManager[object]
    shown, report = (nullcontext(), _say_nothing) if quiet else shown_progress()
    with shown:
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                result: dict[str, Any] = end.value
                return result
            if progress is not None:
                report(progress.text, progress.fraction)


def _say_nothing(_text: str, _fraction: float | None) -> None:
    """Stand in for the progress of a process that only helps."""


def _where(job: Job) -> str:
    report = job.output / "report.html"
    return f"result in {job.output}{f', report {report}' if report.exists() else ''}"


if __name__ == "__main__":
    code = main()
    # All memory goes with the process: looking for garbage once more takes longer than most small jobs.
    gc.freeze()
    sys.exit(code)
