"""One at a time at a table: a lock beside it, so that two jobs that add to it lose nothing of each other."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain

PATIENCE_S = 60.0
"""A table is rewritten in milliseconds; whoever holds the lock for longer is stuck."""
_LOOK_AGAIN_S = 0.02


@contextlib.contextmanager
def locked_table(path: Path, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Keep others out of a table, on this machine and where the file system passes locks on, on others.

    The lock is a file of its own, because the table itself is replaced by a rename.

    Raises
    ------
    InputInvalid
        If the folder cannot be written to, or another process holds the table for longer than `patience_s`.
    """
    lock = path.with_name(f".{path.name}.lock")
    until = time.monotonic() + patience_s
    while True:
        descriptor = _opened(lock, path)
        try:
            if _locked(descriptor):
                # Whoever had it before may have removed the file between opening and locking.
                if os.fstat(descriptor).st_nlink:
                    break
            elif time.monotonic() > until:
                raise InputInvalid(
                    f"{path}: another job is at it for {patience_s:g} s; wait for its end, or remove {lock.name}"
                )
            else:
                time.sleep(_LOOK_AGAIN_S)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    try:
        yield
    finally:
        # Before it is unlocked, so that nobody locks a file that is about to go.
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(descriptor)


def _opened(lock: Path, path: Path) -> int:
    try:
        return open_plain(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    except OSError as error:
        raise InputInvalid(
            f"{path}: its folder cannot be written to ({error.strerror}); set 'update_star' to false"
        ) from error


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # The file system knows no locks; the file is replaced whole all the same.
        return True
    return True
