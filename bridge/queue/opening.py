"""Opens the job database whatever has become of its file: a daemon that does not start costs refinements.

A damaged file is set aside, never deleted; what can be read of it goes on in a new one, and so it does when the disk
was too full for that today and has room tomorrow. What happened is said until an operator has seen it (`incidents`).
A database of a newer version, one in use, and one that may not be written are left alone, and so is any that there is
no room to rescue: then `StoreUnavailable` says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .incidents import Incidents
from .salvage import flush, salvage
from .store import Store, StoreDamaged, StoreUnavailable

_LOG_MAGIC = (bytes.fromhex("377f0682"), bytes.fromhex("377f0683"))
_BESIDE = ("", "-wal", "-journal", "-mark")
# Where SQLite keeps its locks in a database file (sqlite.org/fileformat2.html: the lock-byte page).
_LOCKS_BEGIN, _LOCKS_BYTES = 0x4000_0000, 512


def open_store(database: Path, clock: Callable[[], float] = time.time) -> tuple[Store, Incidents]:
    """Open the database, or what can be made of it.

    Raises
    ------
    StoreUnavailable
        If it is in use, of a newer version, may not be written, or is damaged with no room to rescue it.
    """
    incidents = Incidents(database, clock)
    try:
        _set_aside_what_is_no_file(database, incidents)
        with _kept_log(database) as kept_log:
            try:
                store = Store(database, clock)
            except StoreDamaged as error:
                _rescue(database, str(error), kept_log, incidents)
                store = Store(database, clock)
                store.settle()
                return store, incidents
            _tell_what_is_missing(store, kept_log, incidents)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(
            f"{database}: damaged, and it cannot be set aside ({error}); make room in its folder, check its rights"
        ) from error
    return store, incidents


def _set_aside_what_is_no_file(database: Path, incidents: Incidents) -> None:
    """A folder, FIFO or device under the database's name."""
    for path in (Path(f"{database}{suffix}") for suffix in _BESIDE):
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # absent, or SQLite says why it cannot be had
        if not stat.S_ISREG(mode):
            place = incidents.place_aside()
            path.rename(place)
            incidents.note(place, f"{path} was no file; look for jobs to submit again", [place])


@contextlib.contextmanager
def _kept_log(database: Path) -> Iterator[Path | None]:
    """A copy of the log as it was found, which opening the database brings in and throws away; None without a log.

    A daemon that was stopped leaves no log; one that was killed leaves a few megabytes.
    """
    log, copy = Path(f"{database}-wal"), Path(f"{database}-wal.copy")
    kept = None
    with contextlib.suppress(OSError):
        if log.stat().st_size > 0:
            kept = copy
            shutil.copyfile(log, copy)
    try:
        yield kept
    finally:
        with contextlib.suppress(OSError):
            copy.unlink()


def _tell_what_is_missing(store: Store, log: Path | None, incidents: Incidents) -> None:
    """Note what a database that is sound in itself has lost."""
    was_no_log = log is not None and _is_no_log(log)
    if store.missing == 0 and not was_no_log:
        return
    place = incidents.place_aside()
    aside = []
    if log is not None and log.exists():
        aside = [Path(f"{place}-wal")]
        log.rename(aside[0])
    what = f"its last {store.missing} entries are gone" if store.missing else "its last entries may be gone"
    if not any(store.counts().values()):
        what = "it was emptied or removed, and the daemon began with no jobs"
    incidents.note(place, f"the job database has lost entries: {what}; look for jobs to submit again", aside)
    store.settle()


def _is_no_log(log: Path) -> bool:
    """Whether a file with SQLite's log's name begins as no log does; zeros are what a power cut leaves."""
    try:
        with log.open("rb") as stream:
            first = stream.read(4)
    except OSError:
        return False
    return any(first) and first not in _LOG_MAGIC


def _rescue(database: Path, why: str, kept_log: Path | None, incidents: Incidents) -> None:
    """Put what can be read of a damaged database in its place, and set the damaged one aside.

    Nothing is moved before the new one is whole on the disk. A daemon that is killed in between finds the damaged one
    in its place, and begins again.
    """
    if _is_in_use(database):
        raise StoreUnavailable(f"{database}: database is locked by another program")
    fresh = database.with_name(f"{database.name}.fresh")
    try:
        saved = salvage(database, fresh)
        flush(fresh)
    except BaseException:
        # No room, it seems; half a database must not take up what there is.
        fresh.unlink(missing_ok=True)
        raise
    place = incidents.place_aside()
    aside = [place]
    # A second name first, so that there is a database under its own name at every instant.
    try:
        os.link(database, place, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copyfile(database, place)
    for suffix in ("-wal", "-journal"):
        # Never left for the new database, into which SQLite would write it.
        with contextlib.suppress(FileNotFoundError):
            Path(f"{database}{suffix}").rename(f"{place}{suffix}")
            aside.append(Path(f"{place}{suffix}"))
    if kept_log is not None and kept_log.exists():
        # As it was found, which is more than what opening the database has left of it.
        kept_log.replace(f"{place}-wal")
        aside = [*dict.fromkeys((*aside, Path(f"{place}-wal")))]
    jobs = "no job could be saved" if saved == 0 else f"{saved} job{'s were' if saved > 1 else ' was'} saved"
    incidents.note(place, f"the job database was damaged ({why}); {jobs}", aside)
    fresh.replace(database)


def _is_in_use(database: Path) -> bool:
    """Whether another process holds SQLite's locks; SQLite itself does not look at a file that it cannot read."""
    with contextlib.suppress(FileNotFoundError), database.open("r+b") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCKS_BYTES, _LOCKS_BEGIN)
        except BlockingIOError:
            return True
    return False
