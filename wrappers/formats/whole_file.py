"""A file appears under its name whole or not at all: written beside, synced, renamed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[int]:
    """Give a descriptor to write to; on a clean exit the file is on disk under `path`, else nothing of it is.

    The file is written beside `path` (a rename is only atomic inside one file system), synced and renamed.
    Permissions are those of a newly made file, so the user's umask holds.

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
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.replace(target)
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


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write every byte at `offset`, whatever the descriptor's position; raises `OSError` (disk full, ...)."""
    view = memoryview(data).cast("B")
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
