"""The spool folders of jobs as the daemon sees them; see `cryobridge.schemas.spool` for what is in one.

A folder is named by job and attempt, so that an attempt is found again by a daemon that knows only the queue; an
attempt that SLURM preempted goes on in one with a number more. All of this touches a shared file system, which may not
answer: it is called in a thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryobridge.schemas.codes import Code
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain, read_plain
from cryobridge.schemas.spool import (
    CANCEL_FILE,
    CLAIM_FILE,
    FAILURE_FILE,
    HEARTBEAT_FILE,
    JOB_FILE,
    LOG_FILE,
    PROGRESS_FILE,
    RESULT_FILE,
    SCRIPT_FILE,
    SUBMISSION_FILE,
    SlurmClaim,
    SpooledFailure,
    SpooledJob,
    SpooledProgress,
    SpooledResult,
    Submission,
    as_spooled,
    read_spooled,
)
from cryobridge.schemas.validation import clipped
from cryobridge.wrappers.formats.whole_file import whole_file, write_all

_NAME = re.compile(r"(?P<job>[A-Za-z0-9]{1,64})-(?P<attempt>\d{1,4})(\.(?P<round>\d{1,4}))?")
_BEAT_BYTES = 4096
_LAST_WORDS_BYTES = 2000


@dataclass(frozen=True)
class SpoolFiles:
    """What a worker has written so far; `beat` changes as long as it lives."""

    result: dict[str, Any] | None = None
    failure: SpooledFailure | None = None
    progress: SpooledProgress | None = None
    claim: SlurmClaim | None = None
    beat: bytes = b""


class SpoolFolder:
    """The folder of one attempt."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def script(self) -> Path:
        """Where the sbatch script is."""
        return self.path / SCRIPT_FILE

    @property
    def slurm_name(self) -> str:
        """What the job is called in SLURM."""
        return f"cryobridge-{self.path.name}"

    def begin(self, job: SpooledJob, script: str) -> Submission:
        """Write what is to be done; what was handed to SLURM before stays as it is."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = read_spooled(self.path / SUBMISSION_FILE, Submission)
        if known is not None:
            return known
        self._write(JOB_FILE, as_spooled(job))
        self._write(SCRIPT_FILE, script.encode())
        return Submission(name=self.slurm_name)

    def note(self, submission: Submission) -> None:
        """Write down what is handed to SLURM, before, and under which number, after."""
        self._write(SUBMISSION_FILE, as_spooled(submission))

    def noted(self) -> Submission | None:
        """What was handed to SLURM."""
        return read_spooled(self.path / SUBMISSION_FILE, Submission)

    def ask_to_stop(self) -> None:
        """Have the worker stop at its next step, if there is any."""
        with contextlib.suppress(FileNotFoundError):
            self._write(CANCEL_FILE, b"")

    def look(self) -> SpoolFiles:
        """What the worker has said.

        Raises
        ------
        OSError
            If the file system does not say.
        """
        # Opening the folder makes a network file system ask what is in it now.
        there = set(os.listdir(self.path))
        try:
            result = read_spooled(self.path / RESULT_FILE, SpooledResult) if RESULT_FILE in there else None
            failure = read_spooled(self.path / FAILURE_FILE, SpooledFailure) if FAILURE_FILE in there else None
            progress = read_spooled(self.path / PROGRESS_FILE, SpooledProgress) if PROGRESS_FILE in there else None
            claim = read_spooled(self.path / CLAIM_FILE, SlurmClaim) if CLAIM_FILE in there else None
        except InputInvalid as error:
            return SpoolFiles(failure=SpooledFailure(code=Code.BAD_RESULT, text=clipped(str(error))))
        beat = read_plain(self.path / HEARTBEAT_FILE, _BEAT_BYTES) if HEARTBEAT_FILE in there else b""
        return SpoolFiles(None if result is None else result.result, failure, progress, claim, beat)

    def last_words(self) -> str:
        """The end of what the SLURM job printed, on one line; empty where there is nothing."""
        with contextlib.suppress(OSError), open(open_plain(self.path / LOG_FILE), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LAST_WORDS_BYTES))
            text = file.read(_LAST_WORDS_BYTES).decode("utf-8", "replace")
            return clipped(" ".join(text.split()[-60:]))
        return ""

    def remove(self) -> None:
        """Remove it; a worker that is still there takes that for the order to stop."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _write(self, name: str, content: bytes) -> None:
        with whole_file(self.path / name) as descriptor:
            write_all(descriptor, content, 0)


class Spool:
    """The folders of one daemon's jobs.

    Parameters
    ----------
    root
        Where they are; daemons on other machines may have theirs there too.
    owner
        What this daemon writes into its own.
    """

    def __init__(self, root: Path, owner: str) -> None:
        self._root = root
        self.owner = owner

    def newest(self, attempt: str) -> SpoolFolder:
        """The folder of an attempt, the last one where it was preempted; it may not be there yet."""
        found = [(number, path) for name, number, path in self._folders() if name == attempt]
        return SpoolFolder(max(found)[1] if found else self._root / attempt)

    def after(self, folder: SpoolFolder) -> SpoolFolder:
        """The folder in which an attempt begins again."""
        name, _, number = folder.path.name.partition(".")
        return SpoolFolder(self._root / f"{name}.{int(number or 0) + 1}")

    def own(self) -> list[tuple[str, SpoolFolder]]:
        """The folders of this daemon, each with the job that it is of."""
        folders = []
        for _, _, path in self._folders():
            with contextlib.suppress(OSError, InputInvalid):
                job = read_spooled(path / JOB_FILE, SpooledJob)
                if job is not None and job.owner == self.owner:
                    folders.append((job.job_id, SpoolFolder(path)))
        return folders

    def forget(self, job_id: str) -> None:
        """Remove the folders of a job that has ended; of one that failed the last stays, to be looked at."""
        found = sorted((name, number, path) for name, number, path in self._folders() if name.startswith(f"{job_id}-"))
        for _, _, path in found:
            failed = not (path / RESULT_FILE).exists() and not (path / CANCEL_FILE).exists()
            if not (failed and path == found[-1][2]):
                SpoolFolder(path).remove()

    def _folders(self) -> Iterator[tuple[str, int, Path]]:
        try:
            names = os.listdir(self._root)
        except FileNotFoundError:
            return
        for name in names:
            found = _NAME.fullmatch(name)
            if found is not None:
                yield f"{found['job']}-{found['attempt']}", int(found["round"] or 0), self._root / name
