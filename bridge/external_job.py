"""An External job of RELION's pipeline done: by this user's daemon where one answers, else here, in a worker.

The daemon first, so that the jobs of one user share its devices in order, and a job waits for a refinement's calls.
Inside an allocation of a batch system the job runs here: its devices are the allocation's, a daemon may have others.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cryobridge.schemas.envelope import Job
from cryobridge.schemas.errors import Cancelled, CryobridgeError, DaemonUnavailable, InputInvalid
from cryobridge.schemas.state import JobState
from cryobridge.schemas.wire import EXIT_OK
from cryobridge.wrappers.cryosparc.daemon import JobDaemon, JobEnd, OnProgress
from cryobridge.wrappers.formats.whole_file import whole_file, write_all

from .foreground import run_in_foreground
from .progress import progress_lines
from .spoken import NAMES_NAME, as_typed

ALLOCATIONS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "SGE_JOB_SPOOL_DIR")
"""Variables of batch systems inside an allocation."""
SLICE_S = 1.0
"""So often it is looked whether the job is still wanted."""
DAEMON_PATIENCE_S = 60.0
CANCEL_WAIT_S = 30.0
_MOST_FORGOTTEN = 5
_JOB_FOLDER = ".cryobridge-job"


class ExternalJob:
    """One job in the folder that RELION made for it.

    Parameters
    ----------
    job
        Checked, with absolute paths.
    names
        What its keys were called on the command line.
    look
        Raises `Cancelled` where the job is not wanted any more.
    say, complain
        Take lines for RELION's `run.out` and `run.err`.
    """

    def __init__(
        self,
        job: Job,
        names: Mapping[str, str],
        look: Callable[[], None],
        say: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        # Under a name of its own, by which the daemon knows it again, also where it was finished here meanwhile.
        named = job.run.request_id is not None
        self._job = job if named else job.requested_as(f"relion-{secrets.token_hex(8)}")
        self._names = names
        self._look = look
        self._say = say
        self._complain = complain

    def run(self, daemon: JobDaemon, environment: Mapping[str, str]) -> bool:
        """Do the job; whether it succeeded. Where it did not, the reason has been said.

        Raises
        ------
        Cancelled
            If it was stopped; nobody works on it any more.
        """
        allocation = next((name for name in ALLOCATIONS if environment.get(name)), None)
        if allocation and not environment.get("CRYOBRIDGE_SOCKET"):
            self._say(f"runs here, with the devices of this allocation ({allocation} is set)")
            return self._here()
        try:
            job_id = daemon.submit(self._job.as_spec())
        except DaemonUnavailable:
            self._say("runs here; no daemon of yours answers")
            return self._here()
        except CryobridgeError as error:
            self._say(f"runs here; the daemon does not take it: {error}")
            return self._here()
        self._say(f"job {job_id} of your daemon")
        end = self._at_daemon(daemon, job_id)
        if end is None:
            self._say(f"the daemon has been away for {DAEMON_PATIENCE_S:.0f} s; the job goes on here")
            return self._here()
        if end.state == JobState.CANCELLED:
            raise Cancelled(f"cancelled in the daemon ({end.text or end.reason})")
        if end.state != JobState.SUCCEEDED:
            self._complain(as_typed(end.text or f"the job {end.state} ({end.reason})", self._names))
        return end.state == JobState.SUCCEEDED

    def _at_daemon(self, daemon: JobDaemon, job_id: str) -> JobEnd | None:
        """Wait for the end; None where the daemon stays away, or forgets the job again and again."""
        _, report = progress_lines()
        away_since: float | None = None
        forgotten = 0
        known: str | None = job_id
        while True:
            try:
                self._look()
            except Cancelled:
                self._cancel(daemon, job_id, report)
                raise
            try:
                known = job_id = known or daemon.submit(self._job.as_spec())
                end = daemon.end_of(job_id, SLICE_S, report)
            except DaemonUnavailable:
                known = None
                away_since = time.monotonic() if away_since is None else away_since
                if time.monotonic() - away_since > DAEMON_PATIENCE_S:
                    return None
                time.sleep(SLICE_S)
                continue
            except InputInvalid:
                # Another daemon answers by now, which does not know the job.
                known, forgotten = None, forgotten + 1
                if forgotten > _MOST_FORGOTTEN:
                    return None
                continue
            away_since = None
            if end is not None:
                return end

    def _cancel(self, daemon: JobDaemon, job_id: str, report: OnProgress) -> None:
        """Stop the job and wait until nobody writes into the folder any more."""
        try:
            daemon.cancel(job_id)
            daemon.end_of(job_id, CANCEL_WAIT_S, report)
        except CryobridgeError as error:
            self._complain(f"job {job_id} could not be cancelled ({error}); 'cryobridge cancel {job_id}' does it later")

    def _here(self) -> bool:
        """Do it in a worker process that ends with this one."""
        folder = self._job.output / _JOB_FOLDER
        try:
            with contextlib.ExitStack() as stack:
                folder.mkdir(exist_ok=True)
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
                job_file = folder / "job.json"
                _write(job_file, json.dumps(self._job.as_spec()))
                _write(job_file.with_name(NAMES_NAME), json.dumps(dict(self._names)))
                code = run_in_foreground(job_file, progress_on_stdout=True, look=self._look)
        except OSError as error:
            raise CryobridgeError(f"{folder}: cannot be made ({error.strerror})") from error
        # A signal to the whole group ends the worker first; it was no failure of the job's.
        self._look()
        return code == EXIT_OK


def _write(path: Path, text: str) -> None:
    with whole_file(path) as descriptor:
        write_all(descriptor, text.encode(), 0)
