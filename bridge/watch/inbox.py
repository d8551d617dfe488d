"""An inbox: a job file dropped into a folder is checked, claimed, run by the daemon, and answered beside it.

A file `scan.yaml` is claimed by renaming it to `claimed/scan~<token>.yaml`, and the token goes into the job as its
`request_id`. After a crash at any instant the store therefore says whether that claim was already submitted, and no
job runs twice. The answer is `scan.result.json` or `scan.error.txt`; the claim then moves to `done/`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from cryobridge.schemas.envelope import RESULT_NAME
from cryobridge.schemas.errors import CryobridgeError, InputInvalid, JobRejected
from cryobridge.schemas.job import check_paths
from cryobridge.schemas.jobfile import SUFFIXES, load_job
from cryobridge.schemas.result import MAX_RESULT_BYTES
from cryobridge.schemas.state import TERMINAL, JobState
from cryobridge.wrappers.formats.whole_file import remove_leftovers, whole_file, write_all
from cryobridge.wrappers.relion.run_folder import read_text

log = logging.getLogger(__name__)

STABLE_S = 1.0
"""A file must look the same in two rescans at least this far apart before it is taken for complete."""
MAX_PENDING = 64
MAX_NAME_BYTES = 200
_ANSWERS = (".result.json", ".error.txt")
# A name may hold anything, line breaks too.
_CLAIM = re.compile(r"(?P<stem>.+)~(?P<token>[0-9a-f]{16})(?P<suffix>\.(?:yaml|yml|json))\Z", re.DOTALL)

Signature = tuple[int, int, int, int]


class InboxJobs(Protocol):
    """The part of the daemon that an inbox needs; see `watch.Announcements`."""

    def submit(self, spec: Mapping[str, Any]) -> str:
        """Store a checked job durably; return its id. Raises a `CryobridgeError` if that is not possible now."""

    def find(self, request_id: str) -> str | None:
        """The id of the job with this `run.request_id`."""

    def state(self, job_id: str) -> Mapping[str, Any] | None:
        """State, reason and text of a job."""


class Inbox:
    """One inbox folder.

    Parameters
    ----------
    folder
        Where job files are dropped; made if absent.
    jobs
        The daemon's queue.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        folder: Path,
        jobs: InboxJobs,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._claimed = folder / "claimed"
        self._done = folder / "done"
        self._jobs = jobs
        self._clock = clock
        self._sightings: dict[str, tuple[Signature, float]] = {}
        self._told: set[str] = set()
        self._is_swept = False

    def rescan(self) -> None:
        """Claim what is complete, submit what is claimed, answer what is finished.

        Raises
        ------
        OSError
            If the inbox cannot be made, read or written.
        """
        for folder in (self._folder, self._claimed, self._done):
            folder.mkdir(mode=0o700, parents=folder is self._folder, exist_ok=True)
        if not self._is_swept:
            self._is_swept = True
            remove_leftovers(self._folder)
        self._claim_complete()
        for claim in sorted(self._claims()):
            try:
                self._advance(claim)
            except OSError as error:
                log.warning("inbox: %s: %s; trying again", _shown(claim), error)
            except Exception as error:  # one file must not stop the others, whatever is in it
                log.exception("inbox: %s", _shown(claim))
                self._give_up(claim, error)

    def _give_up(self, claim: str, error: Exception) -> None:
        """Answer a claim that nothing can be done with, so that it is not met again in the next rescan."""
        match = _CLAIM.match(claim)
        if match is None:
            return
        why = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        try:
            self._answer(claim, match["stem"], ".error.txt", f"{_shown(match['stem'])}: cannot be used ({why})\n")
        except OSError as answering:
            log.warning("inbox: %s: %s; trying again", _shown(claim), answering)
        except Exception:
            log.exception("inbox: %s: cannot be answered; trying again", _shown(claim))

    def _claims(self) -> list[str]:
        return [name for name in os.listdir(self._claimed) if _CLAIM.match(name)]

    def _claim_complete(self) -> None:
        pending = {name.rpartition("~")[0] for name in self._claims()}
        now = self._clock()
        before, self._sightings = self._sightings, {}
        for name in sorted(os.listdir(self._folder)):
            if not _is_job_file(name):
                continue
            try:
                state = os.lstat(self._folder / name)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(state.st_mode):
                continue
            signature = (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
            seen, since = before.get(name, (None, now))
            if seen != signature:
                since = now
            self._sightings[name] = (signature, since)
            stem = Path(name).stem
            complete = seen == signature and now - since >= STABLE_S and state.st_size > 0
            # One claim of a name at a time, so that each answer meets its own question.
            if complete and stem not in pending and len(pending) < MAX_PENDING and self._claim(name):
                pending.add(stem)
                del self._sightings[name]

    def _claim(self, name: str) -> bool:
        path = self._folder / name
        if len(os.fsencode(name)) > MAX_NAME_BYTES:
            if name not in self._told:
                self._told.add(name)
                log.warning("inbox: a name of more than %d bytes is not taken: %s", MAX_NAME_BYTES, _shown(name)[:60])
            return False
        token = secrets.token_hex(8)
        try:
            path.rename(self._claimed / f"{path.stem}~{token}{path.suffix.lower()}")
        except FileNotFoundError:
            return False  # withdrawn, or another daemon was faster
        for answer in _ANSWERS:
            with contextlib.suppress(FileNotFoundError):
                # The answer to an earlier file of this name: kept, out of the way.
                (self._folder / f"{path.stem}{answer}").rename(self._done / f"{path.stem}~before-{token}{answer}")
        log.info("inbox: claimed %s as request %s", _shown(name), token)
        return True

    def _advance(self, claim: str) -> None:
        """Take a claimed job one step further; does nothing while it runs."""
        match = _CLAIM.match(claim)
        if match is None:
            return
        try:
            job_id = self._jobs.find(match["token"])
            if job_id is None:
                self._submit(claim, match["token"])
                return
            report = self._jobs.state(job_id)
            if report is None:
                raise InputInvalid(f"{claim}: the daemon has forgotten job {job_id}; drop the file again")
        except InputInvalid as error:
            # The sentence names the claim; the user knows the file by the name it was dropped under.
            text = str(error).replace(claim, match["stem"] + match["suffix"])
            self._answer(claim, match["stem"], ".error.txt", f"{_shown(text)}\n")
            return
        except CryobridgeError as error:
            # A full queue, a daemon that is stopping, a full disk: the claim stays, and is tried again.
            if claim not in self._told:
                self._told.add(claim)
                log.warning("inbox: %s has to wait: %s", _shown(claim), error)
            return
        state = report.get("state")
        if state == JobState.SUCCEEDED:
            self._answer(claim, match["stem"], ".result.json", self._result(claim, job_id))
        elif state in TERMINAL:
            words = ": ".join(str(report[key]) for key in ("reason", "text") if report.get(key))
            self._answer(claim, match["stem"], ".error.txt", f"job {job_id} {state}{f' ({words})' if words else ''}\n")

    def _submit(self, claim: str, token: str) -> None:
        path = self._claimed / claim
        state = os.lstat(path)
        if not stat.S_ISREG(state.st_mode):
            raise InputInvalid(f"{claim}: is not a plain file; drop a YAML or JSON file, not a link")
        if state.st_uid != os.getuid():
            # Its files are to be read and written with the rights of who drops it, and these are not ours.
            raise InputInvalid(f"{claim}: belongs to another user than the daemon; use 'cryobridge submit'")
        try:
            job = load_job(path, base=self._folder)
        except JobRejected as error:
            raise InputInvalid(str(error)) from error  # as it stands it never runs
        check_paths(job)
        job_id = self._jobs.submit(job.requested_as(token).as_spec())
        log.info("inbox: request %s is job %s", token, job_id)

    def _result(self, claim: str, job_id: str) -> str:
        output = load_job(self._claimed / claim, base=self._folder).output
        answer: dict[str, Any] = {"job_id": job_id, "state": str(JobState.SUCCEEDED), "output": str(output)}
        try:
            answer["result"] = json.loads(read_text(output / RESULT_NAME, MAX_RESULT_BYTES))
        except ValueError:
            answer["result"] = None  # moved away meanwhile, or on a disk that is gone
        return json.dumps(answer, indent=2) + "\n"

    def _answer(self, claim: str, stem: str, ending: str, text: str) -> None:
        with whole_file(self._folder / f"{stem}{ending}") as descriptor:
            write_all(descriptor, text.encode("utf-8", "backslashreplace"), 0)
        (self._claimed / claim).rename(self._done / claim)
        self._told.discard(claim)
        log.info("inbox: answered %s%s", _shown(stem), ending)


def _is_job_file(name: str) -> bool:
    lowered = name.lower()
    return lowered.endswith(SUFFIXES) and not name.startswith(".") and not lowered.endswith(_ANSWERS)


def _shown(text: str) -> str:
    """Names and sentences as they can stand on one line of a file or a log, whatever bytes a name is made of."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
