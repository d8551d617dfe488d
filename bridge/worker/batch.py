"""`python -I -m cryobridge.bridge.worker.batch --job FILE`: do one job on a node of a cluster, as SLURM has started it.

What becomes of it is written beside the job file, see `cryobridge.schemas.spool`: the daemon that submitted it may have
ended meanwhile. Under `torchrun` every process but the first only helps with the training and writes nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from cryobridge.schemas.codes import AnyCode, Code
from cryobridge.schemas.errors import Cancelled, CryobridgeError, InputInvalid
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.spool import (
    BEAT_S,
    CANCEL_FILE,
    CLAIM_FILE,
    END_FILES,
    FAILURE_FILE,
    HEARTBEAT_FILE,
    JOB_FILE,
    LOOK_S,
    PROGRESS_FILE,
    RESULT_FILE,
    SlurmClaim,
    SpooledFailure,
    SpooledJob,
    SpooledProgress,
    SpooledResult,
    as_spooled,
    read_spooled,
)
from cryobridge.schemas.validation import StrictModel, clipped
from cryobridge.schemas.wire import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from cryobridge.wrappers.formats.whole_file import whole_file, write_all

from ..parent import end_with_parent
from .one_job import device_of, no_collections, show_only

log = logging.getLogger(__name__)

EXIT_STOPPED = 128 + signal.SIGTERM
SAY_EVERY_S = 1.0


class StoppedBySlurm(Exception):  # noqa: N818 - it is SLURM's wish, no error
    """SIGTERM came: cancelled, preempted or out of time, which SLURM itself says."""


class Spooled:
    """The folder of the job as its worker sees it, and a thread that beats and looks for the order to stop.

    Parameters
    ----------
    folder
        Of the job file.
    writes
        False for a process that only helps.
    """

    def __init__(self, folder: Path, *, writes: bool) -> None:
        self._folder = folder
        self._writes = writes
        self._said_at = 0.0
        self.cancelled = threading.Event()
        self.stopped = threading.Event()

    def claim(self) -> SlurmClaim | None:
        """Take the job; None if this process may do it, else who does it already.

        A SLURM job that begins anew, after its node was lost, keeps its number and its claim.
        """
        number = os.environ.get("SLURM_JOB_ID", "")
        claim = SlurmClaim(
            number=int(number) if number.isdecimal() else None, host=socket.gethostname(), pid=os.getpid()
        )
        part = self._folder / f".{CLAIM_FILE}.{claim.host}.{claim.pid}"
        self._write(part.name, claim)
        try:
            # A link under a name that is there already fails, on network file systems too, and the file is whole.
            os.link(part, self._folder / CLAIM_FILE)
        except FileExistsError:
            other = read_spooled(self._folder / CLAIM_FILE, SlurmClaim)
            return other if other is not None and (other.number != claim.number or claim.number is None) else None
        finally:
            part.unlink(missing_ok=True)
        return None

    def finished(self) -> bool:
        """Whether it was said already what became of the job."""
        return any((self._folder / name).exists() for name in END_FILES)

    def watch(self) -> None:
        """Begin to beat, and to look for the order to stop."""
        if self._writes:
            threading.Thread(target=self._watch, name="beat", daemon=True).start()

    def say(self, text: str, fraction: float | None, *, now: bool = False) -> None:
        """Say how far the job is, not more often than anybody reads it."""
        at = time.monotonic()
        if self._writes and (now or at - self._said_at >= SAY_EVERY_S):
            self._said_at = at
            self._write(PROGRESS_FILE, SpooledProgress(text=clipped(text), fraction=fraction))

    def succeeded(self, result: dict[str, Any]) -> None:
        """Say that it is done."""
        if self._writes:
            self._write(RESULT_FILE, SpooledResult(result=result))

    def failed(self, code: AnyCode, text: str) -> None:
        """Say that it will not be done."""
        if self._writes:
            self._write(FAILURE_FILE, SpooledFailure(code=str(code), text=clipped(text)))

    def _watch(self) -> None:
        beats = 0
        while True:
            try:
                # Opening a folder asks a network file system what is in it now; asking for a name may not.
                if CANCEL_FILE in os.listdir(self._folder):
                    self.cancelled.set()
                if beats % round(BEAT_S / LOOK_S) == 0:
                    self._write_bytes(HEARTBEAT_FILE, json.dumps({"beat": beats, "pid": os.getpid()}).encode())
            except FileNotFoundError:
                # The daemon has given this attempt up, as lost perhaps, and does not want to hear of it any more.
                self.cancelled.set()
            except OSError as error:
                log.warning("the job's folder cannot be used now: %s", error)
            beats += 1
            time.sleep(LOOK_S)

    def _write(self, name: str, content: StrictModel) -> None:
        self._write_bytes(name, as_spooled(content))

    def _write_bytes(self, name: str, content: bytes) -> None:
        with whole_file(self._folder / name) as descriptor:
            write_all(descriptor, content, 0)


def main() -> int:
    """Do the job of a file; the exit code says to SLURM's users how it went."""
    parser = argparse.ArgumentParser(prog="cryobridge batch worker", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help=f"{JOB_FILE} in the job's spool folder")
    path: Path = parser.parse_args().job
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s worker %(name)s %(message)s")
    leads = int(os.environ.get("RANK", "0")) == 0
    if "RANK" in os.environ:
        end_with_parent()
    spooled = Spooled(path.parent, writes=leads)
    signal.signal(signal.SIGTERM, lambda *_: spooled.stopped.set())
    try:
        asked = read_spooled(path, SpooledJob)
        if asked is None:
            raise InputInvalid(f"{path}: there is none; the daemon has taken the job back")
        if leads and (other := spooled.claim()) is not None:
            sys.stderr.write(f"SLURM job {other.number} on {other.host} does this job; this one ends\n")
            return EXIT_OK
        if leads and spooled.finished():
            return EXIT_OK
    except (CryobridgeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    spooled.watch()
    return _done(asked, spooled)


def _done(asked: SpooledJob, spooled: Spooled) -> int:
    """Do a job that is this process's to do, and say what became of it."""
    try:
        spooled.succeeded(_run(asked.spec, spooled))
    except StoppedBySlurm:
        spooled.say("stopped by SLURM", None, now=True)
        sys.stderr.write("stopped by SLURM; a job that is handed over again goes on where it was\n")
        return EXIT_STOPPED
    except CryobridgeError as error:
        spooled.failed(error.code, str(error))
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    except Exception as error:  # the main loop: whatever happened, the daemon must hear of it
        from .memory import is_out_of_memory

        log.exception("the job failed")
        out_of_memory = is_out_of_memory(error)
        text = f"out of memory ({error})" if out_of_memory else f"{type(error).__name__}: {error}"
        spooled.failed(Code.OOM if out_of_memory else Code.FAILED, text)
        return EXIT_FAILED
    return EXIT_OK


def _run(spec: dict[str, Any], spooled: Spooled) -> dict[str, Any]:
    job = parse_job(spec, JOB_FILE)
    # Threads that spin while they wait make every step slower where others use the cores too; read with torch.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    show_only(job.run.devices)
    spooled.say("the worker starts", None)
    with no_collections():
        from .jobs.runner import run_job

    return _advance(run_job(job.as_spec(), device_of(job)), spooled, _check(spooled))


def _advance(steps: Generator[Any, None, Any], spooled: Spooled, check: Callable[[], None]) -> dict[str, Any]:
    """Draw the steps of a job; between two of them what was asked meanwhile is done."""
    try:
        while True:
            check()
            try:
                progress = next(steps)
            except StopIteration as end:
                result: dict[str, Any] = end.value
                return result
            if progress is not None:
                spooled.say(progress.text, progress.fraction, now=progress.fraction is None)
    finally:
        # A job that is stopped puts its folder in order.
        steps.close()


def _check(spooled: Spooled) -> Callable[[], None]:
    def check() -> None:
        if spooled.cancelled.is_set():
            raise Cancelled("cancelled on request")
        if spooled.stopped.is_set():
            raise StoppedBySlurm

    return check


if __name__ == "__main__":
    code = main()
    # All memory goes with the process: looking for garbage once more takes longer than most small jobs.
    gc.freeze()
    sys.exit(code)
