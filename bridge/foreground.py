"""Runs a job file in the foreground, in a worker process of its own: this process never imports torch."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from cryobridge.schemas.errors import Cancelled

from .interrupted import held_back
from .parent import end_with_parent

WORKER_MODULE = "cryobridge.bridge.worker.run"
INTERRUPT_WAIT_S = 10.0
LOOK_EVERY_S = 0.25


def run_in_foreground(
    job_file: Path,
    processes: int = 1,
    *,
    keeps_folder: bool = True,
    progress_on_stdout: bool = False,
    look: Callable[[], None] | None = None,
) -> int:
    """Run a job file with this terminal's own output; return the worker's exit code (128 + n if signal n ended it).

    Ctrl-C ends the worker too: it is told, gets some time to end by itself, and is killed after that. If this process
    is killed, so is the worker: the same command given again must not find it still at work on the same files.

    Parameters
    ----------
    job_file
        YAML or JSON.
    processes
        How many train together (`torchrun`), each on its own GPU where there are several.
    keeps_folder
        False where the output folder is only borrowed, so that nobody is sent to look into it.
    progress_on_stdout
        Say how far it is on standard output, in lines, and leave standard error to what went wrong.
    look
        Called now and then while the worker works; raises `Cancelled` where it is to stop.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, when the worker has ended.
    Cancelled
        If `look` raised it, when the worker has ended.
    """
    work = ["-m", WORKER_MODULE, str(job_file), *([] if keeps_folder else ["--borrowed-folder"])]
    work += ["--progress-on-stdout"] if progress_on_stdout else []
    if processes > 1:
        work = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *work]
    command = [sys.executable, "-I", *work]
    worker: subprocess.Popen[bytes] | None = None
    try:
        with held_back():
            worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_quiet_child)
        code = _wait(worker, look)
    except (KeyboardInterrupt, Cancelled):
        # torchrun knows no quiet end; its processes end with it.
        if worker is not None and (processes > 1 or not _ends(worker)):
            worker.kill()
        raise
    return 128 - code if code < 0 else code


def _wait(worker: subprocess.Popen[bytes], look: Callable[[], None] | None) -> int:
    if look is None:
        return worker.wait()
    while True:
        try:
            return worker.wait(LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            look()


def _quiet_child() -> None:
    """In the new process: end with this one, and let Ctrl-C wait until the worker can end without a traceback."""
    end_with_parent()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _ends(worker: subprocess.Popen[bytes]) -> bool:
    """Tell the worker to end; whether it does so in time, and before Ctrl-C comes again."""
    worker.send_signal(signal.SIGINT)
    try:
        worker.wait(INTERRUPT_WAIT_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        return False
    return True
