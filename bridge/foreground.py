"""Runs a job file in the foreground, in a worker process of its own: this process never imports torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .parent import end_with_parent

WORKER_MODULE = "cryobridge.bridge.worker.run"
INTERRUPT_WAIT_S = 10.0


def run_in_foreground(job_file: Path, processes: int = 1, *, keeps_folder: bool = True) -> int:
    """Run a job file with this terminal's own output; return the worker's exit code (128 + n if signal n ended it).

    Ctrl-C reaches the worker too; it gets some time to end by itself. If this process is killed, so is the worker: the
    same command given again must not find it still at work on the same files.

    Parameters
    ----------
    job_file
        YAML or JSON.
    processes
        How many train together (`torchrun`), each on its own GPU where there are several.
    keeps_folder
        False where the output folder is only borrowed, so that nobody is sent to look into it.
    """
    work = ["-m", WORKER_MODULE, str(job_file), *([] if keeps_folder else ["--borrowed-folder"])]
    if processes > 1:
        work = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *work]
    command = [sys.executable, "-I", *work]
    worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=end_with_parent)
    try:
        code = worker.wait()
    except KeyboardInterrupt:
        try:
            worker.wait(INTERRUPT_WAIT_S)
        except subprocess.TimeoutExpired:
            worker.kill()
        raise
    return 128 - code if code < 0 else code
