"""What can still be read of a damaged job database, and a sound one made of it.

Rows are asked for one by one, since a search that runs into a bad page ends there, with good rows behind it. Where the
first page is gone, which says where the tables are, that of a new database stands in: the tables are made in the same
order at the same places in every one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cryobridge.schemas.codes import Code
from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.job import parse_job
from cryobridge.schemas.state import TERMINAL, JobState

from .rows import COLUMNS, job_of
from .store import RELION_KIND
from .tables import SCHEMA_VERSION, statements

LONGEST_S = 8.0
"""So long rows are looked for: hooks wait for the daemon, and take it for dead after 15 s."""
_UNKNOWN_LAST = 100_000
_HOPELESS = 5_000
"""After so many rows in a row that cannot be read there are none."""
_JOB = f"{COLUMNS}, request_id"
_EVENT = "id, job_id, at, type, text"
# Bytes of a database's first page (sqlite.org/fileformat2.html: the database header).
_VERSIONS_IN_HEADER = slice(18, 20)
_SIZE_IN_HEADER = slice(28, 32)
_FREE_LIST_IN_HEADER = slice(32, 40)
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""An error's own words may hold bytes of the damaged file."""
_LOG_FILES = ("-wal", "-journal", "-shm")


def salvage(damaged: Path, fresh: Path, clock_s: float = LONGEST_S) -> int:
    """Write what can be read of `damaged`, which stays as it is, into a new database `fresh`.

    Returns
    -------
    int
        How many jobs were saved.

    Raises
    ------
    OSError, sqlite3.Error
        If the new one cannot be written.
    """
    until = time.monotonic() + clock_s
    for suffix in ("", *_LOG_FILES):
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)
    db = sqlite3.connect(fresh, isolation_level=None)
    try:
        _make_tables(db)
        with _copy(damaged) as copy:
            saved = _take_over(copy, db, until)
            if saved == 0:
                _lend_first_page(copy)
                saved = _take_over(copy, db, until)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    finally:
        db.close()
    return saved


def _make_tables(db: sqlite3.Connection) -> None:
    """Begin a change that `salvage` ends, and make the tables in it."""
    db.execute("BEGIN")
    for statement in statements():
        db.execute(statement)


@contextlib.contextmanager
def _copy(damaged: Path) -> Iterator[Path]:
    """A copy to read from: opening a database brings its log in, and the damaged one is evidence."""
    copy = damaged.with_name(f"{damaged.name}.copy")
    try:
        for suffix in ("", *_LOG_FILES[:2]):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{damaged}{suffix}", f"{copy}{suffix}")
        yield copy
    finally:
        for suffix in ("", *_LOG_FILES):
            Path(f"{copy}{suffix}").unlink(missing_ok=True)


def _lend_first_page(copy: Path) -> None:
    """Give a file the first page of a database with the same tables, and its own size."""
    model = sqlite3.connect(":memory:")
    try:
        for statement in statements():
            model.execute(statement)
        first = bytearray(model.serialize())
        (page_bytes,) = model.execute("PRAGMA page_size").fetchone()
    finally:
        model.close()
    del first[page_bytes:]
    pages = copy.stat().st_size // page_bytes
    first[_VERSIONS_IN_HEADER] = b"\2\2"  # there may be a log
    first[_SIZE_IN_HEADER] = pages.to_bytes(4, "big")
    first[_FREE_LIST_IN_HEADER] = bytes(8)
    with copy.open("r+b") as stream:
        stream.write(first)


def _take_over(copy: Path, db: sqlite3.Connection, until: float) -> int:
    try:
        source = sqlite3.connect(copy, isolation_level=None)
    except _UNREADABLE:
        return 0
    try:
        source.text_factory = lambda raw: raw.decode("utf-8", "replace")
        with contextlib.suppress(*_UNREADABLE):
            # As the daemon opens it: the log is looked at without a file of shared memory.
            source.execute("PRAGMA locking_mode = EXCLUSIVE")
        saved = _jobs(source, db, until)
        if saved:
            _events(source, db, until)
        return saved
    finally:
        with contextlib.suppress(*_UNREADABLE):
            source.close()


def _jobs(source: sqlite3.Connection, db: sqlite3.Connection, until: float) -> int:
    saved = 0
    db.execute("DROP TRIGGER job_begins")
    for row in _readable(source, "job", _JOB, until):
        if (usable := _usable(row)) is not None:
            saved += _insert(db, "job", _JOB, usable)
    for statement in statements():
        if "TRIGGER job_begins" in statement:
            db.execute(statement)
    return saved


def _events(source: sqlite3.Connection, db: sqlite3.Connection, until: float) -> None:
    for row in _readable(source, "event", _EVENT, until):
        known = db.execute("SELECT 1 FROM job WHERE id = ?", (row[1],)).fetchone()
        if known is not None:
            _insert(db, "event", _EVENT, row)


def _readable(source: sqlite3.Connection, table: str, columns: str, until: float) -> Iterator[Sequence[Any]]:
    try:
        (last,) = source.execute(f"SELECT max(rowid) FROM {table}").fetchone()  # noqa: S608
    except _UNREADABLE:
        last = _UNKNOWN_LAST
    failed = 0
    for number in range(1, (last or 0) + 1):
        if failed >= _HOPELESS or time.monotonic() > until:
            return
        try:
            row = source.execute(f"SELECT {columns} FROM {table} WHERE rowid = ?", (number,)).fetchone()  # noqa: S608
        except _UNREADABLE as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
                return
            failed += 1
            continue
        failed = 0
        if row is not None:
            yield row


def _usable(row: Sequence[Any]) -> Sequence[Any] | None:
    """A job's row as it may be taken over: one that is still to run must be a job; None if it makes no sense."""
    try:
        job = job_of(row[:-1])
    except (ValueError, TypeError):
        return None
    if job.state in TERMINAL or job.kind == RELION_KIND:
        return row
    try:
        parse_job(job.spec, "salvage")
    except CryobridgeError:
        values = dict(zip(_JOB.split(", "), row, strict=True))
        values |= {
            "state": JobState.FAILED.value,
            "reason": Code.STORE.value,
            "text": "its entry in the job database was damaged; submit it again",
            "finished_at": time.time(),
        }
        return tuple(values.values())
    return row


def _insert(db: sqlite3.Connection, table: str, columns: str, row: Sequence[Any]) -> int:
    marks = ", ".join("?" * len(row))
    try:
        return db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", row).rowcount  # noqa: S608
    except (sqlite3.IntegrityError, sqlite3.InterfaceError, OverflowError):
        return 0  # a row that a sound database would not hold


def flush(path: Path) -> None:
    """Let a file reach the disk before a name leads to it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
