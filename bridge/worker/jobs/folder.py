"""The output folder of a job: maps, tables and log while it runs, `result.json` last of all.

Every file appears whole or not at all. Nothing that was not written by this very job is replaced.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml

from cryobridge import __version__
from cryobridge.schemas.envelope import JOB_NAME, RESULT_NAME, Job
from cryobridge.schemas.errors import CryobridgeError, InputInvalid
from cryobridge.schemas.jobfile import read_own_job, without_run
from cryobridge.schemas.outputs import output_of
from cryobridge.schemas.paths import Must
from cryobridge.schemas.plain_file import open_plain
from cryobridge.schemas.result import JobResult, OutputRecord
from cryobridge.schemas.wire import Message
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.whole_file import remove_leftovers, whole_file, write_all
from cryobridge.wrappers.relion.external_job.folder import is_relions

from .input_records import InputRecords, file_record
from .surroundings import device_name, versions

log = logging.getLogger(__name__)

LOG_NAME = "run.log"
_LOCK_NAME = ".lock"
REPORT_NAME = "report.html"


class OutputFolder:
    """Where a job writes.

    Nothing is made or changed before the first write or log line, so that a job that cannot use its inputs leaves
    nothing behind.

    Parameters
    ----------
    job
        With absolute paths.
    device
        That it runs on, for the records.
    writes
        False in all but the first of several processes that do one job together: nothing is read or written then.

    Attributes
    ----------
    path
        The folder.
    inputs
        Records of the inputs, so that each is read for its hash only once.
    resumed
        Whether an earlier attempt at this very job has left its files there.

    Raises
    ------
    InputInvalid
        If the folder holds another job's files or one of this job's inputs, or cannot be written to. Nothing has
        been changed then.
    """

    def __init__(self, job: Job, device: torch.device, *, writes: bool = True) -> None:
        self.job = job
        self.path = job.output
        self.inputs = InputRecords()
        self._device = device
        self._started = time.monotonic()
        self._started_at = _now()
        self._marks: dict[str, float] = {}
        self._outputs: list[str] = []
        self._unsaid: list[str] = []
        self._remarks: list[str] = []
        self._opened = not writes
        self._writes = writes
        self._lock: int | None = None
        self.resumed = writes and self._same_job_before() and not (self.path / RESULT_NAME).exists()
        if writes:
            self._refuse_inputs_inside()
            if not self.resumed:
                self._refuse_to_replace()
            self._refuse_unwritable()

    def open(self) -> None:
        """Make the folder and begin the log, at the first call."""
        if self._opened:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._keep_others_out()
            remove_leftovers(self.path)
            (self.path / RESULT_NAME).unlink(missing_ok=True)
        except OSError as error:
            raise InputInvalid(
                f"{self.path} (output): cannot be made: {error.strerror}; give another folder"
            ) from error
        self._opened = True
        # Also where an earlier attempt is gone on with: it may have been asked for under another name.
        self.write_text(JOB_NAME, yaml.safe_dump(self.job.as_spec(), sort_keys=False), is_output=False)
        words = "goes on after an interruption" if self.resumed else "begins"
        self.log(f"{self.job.kind} {words}: cryobridge {__version__}, torch {torch.__version__}, {self._device}")
        for line in self._unsaid:
            self.log(line)

    def close(self) -> None:
        """Let others in; called once, at the end of the job."""
        if self._lock is not None:
            # Before it is unlocked, so that nobody locks a file that is about to go.
            (self.path / _LOCK_NAME).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def log_once_begun(self, line: str) -> None:
        """Add a line to the log when there is one: nothing is made for it."""
        if self._opened:
            self.log(line)
        else:
            self._unsaid.append(line)

    def remark(self, lines: Iterable[str]) -> None:
        """Keep what a reader of the result must know of its inputs: for the log, and for the result's statements."""
        for line in lines:
            if line not in self._remarks:
                self._remarks.append(line)
                self.log_once_begun(line)

    def progressed(self, text: str) -> None:
        """Note in the log how far the job is, if it has begun to write."""
        if self._opened:
            self.log(text)

    def failed(self, why: str) -> None:
        """Note in the log why the job ends without a result, if it had begun to write."""
        if self._opened and self._writes:
            self.log(f"failed: {why}")

    def write_map(
        self, name: str, volume: torch.Tensor, voxel_size_A: float, position: mrc.MapPosition = mrc.AT_ZERO
    ) -> None:
        """Write a map (n, n, n) under a name ending in .mrc.

        A map in real space lies where the map does that it was made from, or it is off in every viewer; a volume in
        Fourier space lies nowhere.
        """
        if not self._writes:
            return
        self.open()
        self._claim(name)
        try:
            mrc.write_atomically(self.path / name, volume.detach().float().cpu().numpy(), voxel_size_A, position)
        except OSError as error:
            raise CryobridgeError(f"{self.path / name}: cannot be written: {error.strerror}") from error

    def write_tensors(
        self, name: str, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write tensors by name, and texts that describe them, under a name ending in .safetensors."""
        held = {key: value.cpu().contiguous() for key, value in tensors.items()}
        self._write(name, safetensors.torch.save(held, None if metadata is None else dict(metadata)))

    def write_data(self, name: str, data: bytes) -> None:
        """Write a file of any sort."""
        self._write(name, data)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[int]:
        """Give a descriptor to write a file to that is too large to be held; it appears whole or not at all."""
        self.open()
        self._claim(name)
        try:
            with whole_file(self.path / name) as descriptor:
                yield descriptor
        except OSError as error:
            raise CryobridgeError(f"{self.path / name}: cannot be written: {error.strerror}") from error

    def count_again(self, name: str) -> None:
        """Count a file that an earlier attempt at this very job left whole among the results."""
        if self._writes:
            self.open()
            self._claim(name)

    def link(self, name: str, target: Path) -> None:
        """Link to a foreign file under a name of ours, which may have folders in it; an older link gives way."""
        if not self._writes:
            return
        self.open()
        place = self.path / name
        beside = place.with_name(f".{secrets.token_hex(8)}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            beside.symlink_to(target)
            beside.replace(place)
        except OSError as error:
            raise CryobridgeError(f"{place}: cannot be made: {error.strerror}") from error

    def write_text(self, name: str, text: str, *, is_output: bool = True) -> None:
        """Write a text file, e.g. a table."""
        self._write(name, text.encode(), is_output=is_output)

    def _write(self, name: str, data: bytes, *, is_output: bool = True) -> None:
        if not self._writes:
            return
        self.open()
        is_new = is_output and name not in self._outputs
        if is_output:
            self._claim(name)
        try:
            with whole_file(self.path / name) as descriptor:
                write_all(descriptor, data, 0)
        except OSError as error:
            if is_new:  # a job that can do without it has no such result
                self._outputs.remove(name)
            raise CryobridgeError(f"{self.path / name}: cannot be written: {error.strerror}") from error

    def log(self, line: str) -> None:
        """Add a line to `run.log`; what cannot be logged does not stop a job."""
        if not self._writes:
            return
        self.open()
        try:
            descriptor = open_plain(self.path / LOG_NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW)
            with open(descriptor, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{_now()} {' '.join(line.split())}\n")
        except OSError as error:
            log.warning("%s: cannot be written: %s", self.path / LOG_NAME, error.strerror)

    def mark(self, step: str) -> None:
        """Note that a step of the job is over; its seconds go into the result."""
        now = time.monotonic()
        self._marks[step] = round(now - self._started - sum(self._marks.values()), 3)

    @property
    def seconds(self) -> dict[str, float]:
        """How long the steps took that are over, by name, and all of it so far as `total`."""
        return {**self._marks, "total": round(time.monotonic() - self._started, 3)}

    def finish(
        self,
        *,
        metrics: Mapping[str, Any],
        options: Mapping[str, Any] | None = None,
        statements: Sequence[str] = (),
        seeds: Mapping[str, int] | None = None,
    ) -> Message:
        """Write `result.json`; its presence means "finished".

        Parameters
        ----------
        metrics
            Numbers of the kind.
        options
            Every option as used; the job's own if None.
        statements
            What a reader must know, besides what was remarked before.
        seeds
            Of everything random.

        Returns
        -------
        The result as JSON values; nothing where nothing is written.
        """
        if not self._writes:
            return {}
        total = round(time.monotonic() - self._started, 3)
        result = JobResult(
            kind=self.job.kind,
            versions=versions(),
            inputs={
                found.key: self.inputs.record(found.path)
                for found in self.job.paths()
                if found.must is not Must.BE_ROOT
            },
            outputs={name: self._output_record(name) for name in self._outputs},
            options=dict(self.job.options.model_dump(mode="json") if options is None else options),
            seeds=dict(seeds or {}),
            device=device_name(self._device),
            started_at=self._started_at,
            timings_s={**self._marks, "total": total},
            metrics=dict(metrics),
            statements=list(dict.fromkeys([*statements, *self._remarks])),
        )
        self.log(f"finished after {total:.1f} s")
        self.write_text(RESULT_NAME, result.as_json(), is_output=False)
        loaded: Message = json.loads(result.as_json())
        return loaded

    def _output_record(self, name: str) -> OutputRecord:
        declared = output_of(self.job.outputs, name)
        found = file_record(self.path / name)
        return OutputRecord(
            path=found.path,
            sha256=found.sha256,
            size_bytes=found.size_bytes,
            type=None if declared is None else declared.type,
            role=None if declared is None else declared.role,
        )

    def _claim(self, name: str) -> None:
        """Take a name for an output; never one under which the job's own input lies."""
        target = self.path / name
        for found in self.job.paths() if target.exists() else ():
            if target.samefile(found.path):
                raise InputInvalid(
                    f"{found.path} ({found.key}): would be replaced by the result; give another output folder"
                )
        if name not in self._outputs:
            self._outputs.append(name)

    def _same_job_before(self) -> bool:
        before = read_own_job(self.path / JOB_NAME)
        return before is not None and without_run(before) == without_run(self.job.as_spec())

    def _refuse_inputs_inside(self) -> None:
        """With overwriting allowed, an input could be replaced by a result of its name."""
        here = self.path.resolve()
        for key, path, must in self.job.paths():
            there = path.resolve()
            if must is Must.BE_ROOT:
                continue
            is_file = must is Must.BE_FILE or (must is Must.BE_THERE and path.is_file())
            if not is_file and (there in (here, *here.parents) or here in there.parents):
                raise InputInvalid(f"{path} ({key}): must not hold the output folder, nor lie in it; give another")
            if is_file and here in (path.parent.resolve(), there.parent):
                raise InputInvalid(f"{path} ({key}): lies in the output folder; give another output folder")

    def _keep_others_out(self) -> None:
        """Lock the folder until the job, or this process, ends."""
        try:
            lock = open_plain(self.path / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        except OSError as error:
            raise OSError(error.errno, f"{_LOCK_NAME}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise InputInvalid(
                f"{self.path} (output): another process is at work in it; wait for its end, or give another folder"
            ) from error
        except OSError as error:  # some network file systems know no locks
            log.warning("%s: cannot be locked: %s", self.path, error.strerror)
        self._lock = lock

    def _refuse_unwritable(self) -> None:
        """Try it now and leave no trace, since the first result may be hours away."""
        there = next((folder for folder in (self.path, *self.path.parents) if folder.exists()), self.path)
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            raise InputInvalid(
                f"{self.path} (output): {there} cannot be written to ({error.strerror}); give another folder"
            ) from error

    def _refuse_to_replace(self) -> None:
        """A folder with files in it may be somebody's work."""
        if self.job.run.overwrite or not self.path.is_dir():
            return
        try:
            found = sorted(entry for entry in os.listdir(self.path) if not entry.startswith("."))
        except OSError as error:
            raise InputInvalid(f"{self.path} (output): cannot be read: {error.strerror}") from error
        if JOB_NAME in found:
            raise InputInvalid(
                f"{self.path} (output) holds another, unfinished job; give another folder, or set 'overwrite: true' "
                "under 'run'"
            )
        endings = (".mrc", ".csv", ".html", ".cxc", ".star", ".safetensors")
        ours = {output.pattern for output in self.job.outputs}
        risky = [entry for entry in found if (entry.endswith(endings) or entry in ours) and not is_relions(entry)]
        if risky:
            raise InputInvalid(
                f"{self.path} (output) holds files that are not of this job, such as {risky[0]}; give a new folder, "
                "or set 'overwrite: true' under 'run'"
            )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
