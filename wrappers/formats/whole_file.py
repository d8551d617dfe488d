"""A file appears under its name whole or not at all: written beside, synced, renamed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

_PART = re.compile(r"\..+\.[0-9a-f]{16}\.part", re.DOTALL)
_TRIES = 8


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[int]:
    """Give a descriptor to write to; on a clean exit the file is on disk under `path`, else nothing of it is.

    The file is written beside `path` (a rename is only atomic inside one file system), synced and renamed.
    Permissions are those of a newly made file, so the user's umask holds. Until then its name is one that nobody can
    guess, and its writer holds a lock on it: see `remove_leftovers`.

    Yields
    ------
    int
        Descriptor, open for reading and writing. It is closed here.

    Raises
    ------
    OSError
        If the folder cannot be written to or the disk is full; an older file of that name is then untouched.
    """
    target = Path(path)
    part, descriptor = _new_part(target)
    try:
        try:
            yield descriptor
            os.fsync(descriptor)
            # While it is locked, or it could be taken for a leftover.
            part.replace(target)
        finally:
            os.close(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    # The name itself must survive a power cut too; some network file systems cannot sync a folder.
    with contextlib.suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(folder: str | os.PathLike[str]) -> list[str]:
    """Remove what writers left in a folder that were killed before a file of theirs was whole; return the names.

    A living writer holds a lock on its file, whichever machine it is on, and keeps it. Where the file system knows no
    locks nobody can tell, and everything stays; so do files of other users, and all that is not named as ours are.
    """
    removed = []
    try:
        names = [name for name in os.listdir(folder) if _PART.fullmatch(name)]
    except OSError:
        return []
    for name in names:
        with contextlib.suppress(OSError):
            if _remove_if_left(Path(folder, name)):
                removed.append(name)
    return removed


def _new_part(target: Path) -> tuple[Path, int]:
    """Make a file of a new name beside the target, and lock it."""
    for _ in range(_TRIES):
        part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
        try:
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Somebody who clears up was quicker than the lock, and will remove it.
            os.close(descriptor)
            continue
        except OSError:
            # The file system knows no locks, so nobody will take it for a leftover.
            return part, descriptor
        if os.fstat(descriptor).st_nlink:
            return part, descriptor
        os.close(descriptor)
    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))


def _remove_if_left(part: Path) -> bool:
    descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have been finished and renamed between opening and locking: the name is gone then.
        part.unlink()
        return True
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write every byte at `offset`, whatever the descriptor's position; raises `OSError` (disk full, ...)."""
    view = memoryview(data).cast("B")
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
