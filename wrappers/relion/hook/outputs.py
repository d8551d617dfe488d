"""A map being made: a temporary name beside the result, or memory while the disk is full. Whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import time

from .processes import owner

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CHUNK_BYTES = 4 * 1024 * 1024
_LONGEST_NAME_BYTES = 255


def is_full(error: OSError) -> bool:
    """Whether an error means that there is no room (disk, quota or file size limit)."""
    return error.errno in _FULL


class OutputFile:
    """A file that becomes the result by renaming.

    Attributes
    ----------
    fd
        Open for reading and writing.
    path
        The temporary name, or None for a file in memory.
    """

    def __init__(self, fd: int, path: str | None) -> None:
        self.fd = fd
        self.path = path

    @classmethod
    def on_disk(cls, folder: str, name: str, size: int) -> OutputFile:
        """Make `.<name>` in `folder` with `size` bytes reserved.

        Raises
        ------
        OSError
            If it cannot be made or there is no room; nothing is left behind then.
        """
        path = os.path.join(folder, hidden(name))
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        output = cls(fd, path)
        try:
            _reserve(fd, size)
        except BaseException:
            output.discard()
            raise
        return output

    @classmethod
    def in_memory(cls, size: int) -> OutputFile:
        """Make a file that exists in memory only."""
        fd = os.memfd_create("cryobridge", os.MFD_CLOEXEC)
        os.ftruncate(fd, size)
        return cls(fd, None)

    def place(self, result: str) -> None:
        """Make this file the result, whole: to disk first, then one rename.

        Raises
        ------
        OSError
            If the file cannot be brought to disk; whatever `result` was before stays as it was.
        """
        if self.path is None:
            copy = OutputFile.on_disk(os.path.dirname(result), f"{os.path.basename(result)}.{unique()}.mrc", 0)
            try:
                _copy(self.fd, copy.fd)
                copy.place(result)
            finally:
                copy.discard()
            return
        # Also where a network file system reports that an earlier write failed.
        os.fsync(self.fd)
        os.rename(self.path, result)
        self.path = None

    def place_patiently(self, result: str, patience_s: float) -> None:
        """Like `place`, but while the disk is full try again for `patience_s`.

        Deleted volumes free their room only when the daemon has closed them too.
        """
        deadline = time.monotonic() + patience_s
        while True:
            try:
                self.place(result)
            except OSError as error:
                if not is_full(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def release(self) -> None:
        """Close it and leave the temporary name to another process."""
        self.path = None
        self.discard()

    def discard(self) -> None:
        """Close it, and remove it unless it has been placed."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            self.path = None
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self.fd)
            self.fd = -1


def unique() -> str:
    """A part of a temporary name that no other process on any host will choose, and that says whose the file is."""
    return f"cryobridge-{owner()}-{os.urandom(6).hex()}"


def hidden(name: str) -> str:
    """A temporary file's name, from its end as much as a file system takes; RELION's own names are shorter."""
    while len(os.fsencode(name)) >= _LONGEST_NAME_BYTES:
        name = name[1:]
    return f".{name}"


def _reserve(fd: int, size: int) -> None:
    if size <= 0:
        return
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
            raise
        os.ftruncate(fd, size)


def _copy(source: int, target: int) -> None:
    offset = 0
    while chunk := os.pread(source, _CHUNK_BYTES, offset):
        view = memoryview(chunk)
        while view:
            written = os.pwrite(target, view, offset)
            offset += written
            view = view[written:]
