"""Jobs on disk: what was acknowledged is never lost, and no job takes a step that the table of states forbids.

SQLite in WAL mode with `synchronous=FULL`: when a method returns, its change has reached the disk. The table of
`schemas.state` is enforced here in Python and, for whoever writes to the file otherwise, by a trigger. Knows no
sockets, workers or maps.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryobridge.schemas.codes import AnyCode, Code
from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.state import MAX_ATTEMPTS, MAX_STALLED_ATTEMPTS, TERMINAL, JobState, may_become

from .checks import find_damage, is_damage, is_newer, version_of
from .mark import Mark
from .rows import COLUMNS, Event, StoredJob, job_of
from .tables import SCHEMA_VERSION, statements

RELION_KIND = "relion.reconstruct"


class StoreUnavailable(CryobridgeError):  # noqa: N818 - the field name users read
    """The database cannot be read or written (disk full, permission, another daemon)."""

    code = Code.STORE


class StoreDamaged(StoreUnavailable):
    """The database file itself is wrong; `bridge.queue.opening` knows what to do."""


class WrongTransition(Exception):  # noqa: N818
    """A change of state that the table does not allow; a mistake in the caller."""


def mark_path(database: Path) -> Path:
    """Where the mark of a database is."""
    return database.with_name(f"{database.name}-mark")


class Store:
    """The jobs of one daemon. One process and one thread at a time.

    Parameters
    ----------
    path
        The database file; made if absent.
    clock
        Seconds since 1970.

    Attributes
    ----------
    missing
        How many entries the mark beside the file knows of, and the file does not; None where the mark cannot be read.

    Raises
    ------
    StoreDamaged
        If the file is no sound database of jobs.
    StoreUnavailable
        If the file cannot be opened, is in use, or was written by a newer version.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._db = sqlite3.connect(":memory:")
        try:
            self._open(path)
        except (sqlite3.Error, UnicodeDecodeError, StoreUnavailable) as error:
            self._db.close()
            if isinstance(error, StoreUnavailable):
                raise
            if is_damage(error, path):
                raise StoreDamaged(f"{path}: {error}") from error
            raise StoreUnavailable(f"{path}: {error}; check its folder's space and rights") from error
        self._changes: list[tuple[JobState | None, StoredJob]] = []
        self._told: list[Callable[[JobState | None, StoredJob], None]] = []
        self._booked = self._last_event()
        self._mark = Mark(mark_path(path))
        noted = self._mark.read()
        self.missing: int | None = None if noted is None else max(0, noted - self._booked)

    def _open(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=2.0, isolation_level=None)
        # Whatever bytes a text holds, reading it must not fail.
        self._db.text_factory = lambda raw: raw.decode("utf-8", "replace")
        # Exclusive: no shared memory is needed then, so WAL works on network file systems, and a second
        # daemon cannot open the same file.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        if is_newer(self._db):
            raise StoreUnavailable(
                f"{path}: written by a newer cryobridge (format {version_of(self._db)}); use that one"
            )
        if (damage := find_damage(self._db)) is not None:
            raise StoreDamaged(f"{path}: {damage}")
        if version_of(self._db) == 0:
            self._make_tables()
        # A file that can be read and not written must not be found out by the first job.
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("INSERT OR REPLACE INTO pulse (id, at) VALUES (1, 0)")
        self._db.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file; nothing is pending, since every change was written when it was made."""
        self._db.close()
        self._mark.close()

    def settle(self) -> None:
        """Take the database as it is for the truth: what is missing from it has been told."""
        self.missing = 0
        self._mark.write(self._booked)

    def on_change(self, callback: Callable[[JobState | None, StoredJob], None]) -> None:
        """Have each change told once it is on the disk: the state before (None of a new job), and the job as it is."""
        self._told.append(callback)

    # ---- changes

    def add(
        self,
        kind: str,
        spec: Mapping[str, Any],
        uid: int,
        *,
        priority: int = 2,
        job_id: str | None = None,
        request_id: str | None = None,
    ) -> StoredJob:
        """Book a new job; when this returns it will survive anything.

        A `request_id` that the user has used before gives the job it made then.
        """
        with self.together():
            if request_id is not None:
                known = self._rows("WHERE uid = ? AND request_id = ?", (uid, request_id))
                if known:
                    return known[0]
            new_id = job_id or uuid.uuid4().hex[:12]
            self._db.execute(
                "INSERT INTO job (id, number, kind, uid, priority, state, spec, request_id, created_at) VALUES "
                "(?, (SELECT coalesce(max(number), 0) + 1 FROM job), ?, ?, ?, ?, ?, ?, ?)",
                (new_id, kind, uid, priority, JobState.QUEUED.value, json.dumps(spec), request_id, self._clock()),
            )
            self._event(new_id, JobState.QUEUED, "")
            return self._changed(None, new_id)

    def start(self, job_id: str) -> StoredJob:
        """A worker has it now."""
        return self._move(job_id, JobState.RUNNING, None, "", started_at=self._clock(), attempts=1)

    def succeed(self, job_id: str, result: Mapping[str, Any], text: str = "") -> StoredJob:
        """It is done."""
        return self._move(job_id, JobState.SUCCEEDED, None, text, result=result)

    def fail(self, job_id: str, reason: AnyCode, text: str) -> StoredJob:
        """It will not be done."""
        return self._move(job_id, JobState.FAILED, reason, text)

    def cancel(self, job_id: str, text: str = "cancelled on request") -> StoredJob:
        """It was given up."""
        return self._move(job_id, JobState.CANCELLED, Code.CANCELLED, text)

    def interrupt(self, job_id: str, reason: AnyCode, text: str, *, counts: bool = True) -> StoredJob:
        """Its worker or the daemon ended; queue it again, or give up after too many attempts.

        Parameters
        ----------
        counts
            False where the daemon stopped in order, which says nothing about the job: the attempt is taken back.
        """
        with self.together():
            job = self._move(job_id, JobState.INTERRUPTED, reason, text, attempts=0 if counts else -1)
            if job.abort_requested:
                return self._move(job_id, JobState.CANCELLED, Code.CANCELLED, "cancelled on request")
            if job.kind == RELION_KIND:
                # Its hooks have fallen back long ago; nobody waits.
                return self._move(job_id, JobState.FAILED, reason, text)
            if job.attempts >= (MAX_STALLED_ATTEMPTS if reason == Code.STALLED else MAX_ATTEMPTS):
                return self._move(job_id, JobState.FAILED, reason, f"{text} ({job.attempts} attempts)")
            return self._move(job_id, JobState.QUEUED, None, "")

    def request_abort(self, job_id: str) -> StoredJob:
        """Note that a job is to stop; a flag, since the job stops only at its next step."""
        with self.together():
            self._db.execute("UPDATE job SET abort_requested = 1 WHERE id = ?", (job_id,))
            job = self._one(job_id)
            return self._changed(job.state, job_id)

    def note(self, job_id: str, type_: str, text: str) -> None:
        """Add a line to a job's log."""
        with self.together():
            self._event(job_id, type_, text)
            self._changed(self._one(job_id).state, job_id)

    def recover(self, why: str = "the daemon was restarted") -> list[StoredJob]:
        """Put right what a daemon that ended at any instant left behind; return the jobs that were running."""
        with self.together():
            left = self._rows("WHERE state IN (?, ?)", (JobState.RUNNING.value, JobState.INTERRUPTED.value))
            return [
                # What runs in SLURM goes on without the daemon: the attempt that is found there again is the same.
                self.interrupt(job.id, Code.WORKER_DIED, why, counts=not job.in_slurm)
                if job.state is JobState.RUNNING
                else self._move(job.id, JobState.FAILED if job.kind == RELION_KIND else JobState.QUEUED, None, "")
                for job in left
            ]

    def forget_finished(self, keep: int) -> int:
        """Delete all but the newest `keep` finished jobs with their events; return how many went."""
        marks = ", ".join("?" * len(TERMINAL))
        with self.together():
            return self._db.execute(
                f"DELETE FROM job WHERE id IN (SELECT id FROM job WHERE state IN ({marks}) "  # noqa: S608
                "ORDER BY number DESC LIMIT -1 OFFSET ?)",
                (*sorted(TERMINAL), keep),
            ).rowcount

    # ---- questions

    def get(self, job_id: str) -> StoredJob | None:
        """One job, or None."""
        found = self._rows("WHERE id = ?", (job_id,))
        return found[0] if found else None

    def beginning_with(self, start: str) -> list[StoredJob]:
        """The jobs whose id begins so."""
        return self._rows("WHERE substr(id, 1, ?) = ? ORDER BY number", (len(start), start))

    def find_request(self, request_id: str, uid: int) -> StoredJob | None:
        """The job that a user's request made, or None."""
        found = self._rows("WHERE uid = ? AND request_id = ?", (uid, request_id))
        return found[0] if found else None

    def newest(
        self, limit: int, *, uid: int | None = None, state: str | None = None, kind: str | None = None
    ) -> list[StoredJob]:
        """The last jobs, newest first; of one user, in one state or of one kind where that is given."""
        wanted = [
            (name, value) for name, value in (("uid", uid), ("state", state), ("kind", kind)) if value is not None
        ]
        where = f"WHERE {' AND '.join(f'{name} = ?' for name, _ in wanted)} " if wanted else ""
        return self._rows(f"{where}ORDER BY number DESC LIMIT ?", (*(value for _, value in wanted), limit))

    def queued(self) -> list[StoredJob]:
        """What waits, in the order in which it should start."""
        return self._rows("WHERE state = ? ORDER BY priority, number", (JobState.QUEUED.value,))

    def running(self) -> list[StoredJob]:
        """What runs."""
        return self._rows("WHERE state = ? ORDER BY number", (JobState.RUNNING.value,))

    def events(self, job_id: str) -> list[Event]:
        """A job's history, oldest first."""
        with self._reading():
            rows = self._db.execute("SELECT at, type, text FROM event WHERE job_id = ? ORDER BY id", (job_id,))
            return [Event(*row) for row in rows]

    def counts(self) -> dict[str, int]:
        """Number of jobs by state."""
        with self._reading():
            rows = self._db.execute("SELECT state, count(*) FROM job GROUP BY state").fetchall()
            return {state.value: dict(rows).get(state.value, 0) for state in JobState}

    def open_jobs(self) -> int:
        """Submitted jobs that are not finished."""
        with self._reading():
            (count,) = self._db.execute(
                "SELECT count(*) FROM job WHERE kind != ? AND state IN (?, ?, ?)",
                (RELION_KIND, JobState.QUEUED, JobState.RUNNING, JobState.INTERRUPTED),
            ).fetchone()
            return int(count)

    def writable(self) -> bool:
        """Whether a change would reach the disk now."""
        try:
            with self.together():
                self._db.execute("INSERT OR REPLACE INTO pulse (id, at) VALUES (1, ?)", (self._clock(),))
        except StoreUnavailable:
            return False
        return True

    # ---- inside

    def _make_tables(self) -> None:
        self._db.execute("BEGIN EXCLUSIVE")
        for statement in statements():
            self._db.execute(statement)
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._db.execute("COMMIT")

    def _last_event(self) -> int:
        with self._reading():
            found = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
            return 0 if found is None else int(found[0])

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make several changes one: all of them reach the disk, with one wait for it, or none."""
        if self._db.in_transaction:
            yield
            return
        booked = self._booked
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
                self._mark.write(self._booked)
            except BaseException:
                self._booked = booked
                self._changes.clear()
                # SQLite itself rolls back on a full disk; then there is nothing left to undo.
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"{self._path}: {error}") from error
        changes, self._changes = self._changes, []
        for before, job in changes:
            for callback in self._told:
                callback(before, job)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"{self._path}: {error}") from error

    def _rows(self, where: str, values: Sequence[object]) -> list[StoredJob]:
        with self._reading():
            return [job_of(row) for row in self._db.execute(f"SELECT {COLUMNS} FROM job {where}", values)]  # noqa: S608

    def _one(self, job_id: str) -> StoredJob:
        job = self.get(job_id)
        if job is None:
            raise KeyError(job_id)
        return job

    def _changed(self, before: JobState | None, job_id: str) -> StoredJob:
        job = self._one(job_id)
        self._changes.append((before, job))
        return job

    def _move(
        self,
        job_id: str,
        then: JobState,
        reason: AnyCode | None,
        text: str,
        *,
        result: Mapping[str, Any] | None = None,
        started_at: float | None = None,
        attempts: int = 0,
    ) -> StoredJob:
        with self.together():
            now = self._one(job_id).state
            if not may_become(now, then):
                raise WrongTransition(f"job {job_id} is {now} and cannot become {then}")
            self._db.execute(
                "UPDATE job SET state = ?, reason = ?, text = ?, result = coalesce(?, result), "
                "started_at = coalesce(?, started_at), finished_at = ?, attempts = attempts + ? WHERE id = ?",
                (
                    then.value,
                    reason,
                    text,
                    None if result is None else json.dumps(result),
                    started_at,
                    self._clock() if then in TERMINAL else None,
                    attempts,
                    job_id,
                ),
            )
            self._event(job_id, then, f"{reason}: {text}" if reason else text)
            return self._changed(now, job_id)

    def _event(self, job_id: str, type_: str, text: str) -> None:
        added = self._db.execute(
            "INSERT INTO event (job_id, at, type, text) VALUES (?, ?, ?, ?)", (job_id, self._clock(), str(type_), text)
        )
        self._booked = added.lastrowid or self._booked
