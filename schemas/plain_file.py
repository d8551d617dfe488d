"""Files that anybody may have put there: plain, bounded in size, and never waited for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from .errors import InputInvalid


def open_plain(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a plain file; a pipe or a device under its name is refused, not waited for.

    Parameters
    ----------
    path
        The file; links are followed unless `flags` has `O_NOFOLLOW`.
    flags
        As for `os.open`; a file that is made by it gets mode 0666 less the umask, as all files that we make for users.

    Returns
    -------
    int
        The descriptor, which the caller closes.

    Raises
    ------
    OSError
        If it cannot be opened, or is no plain file.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, "is not a plain file, but a pipe or a device", str(path))


def read_plain(path: Path, limit_bytes: int, flags: int = os.O_RDONLY) -> bytes:
    """What a plain file of at most `limit_bytes` holds.

    Raises
    ------
    OSError
        As `open_plain`, and if it is larger.
    """
    with open(open_plain(path, flags), "rb") as file:
        # Not `limit_bytes` at once: Python takes the memory before it reads.
        size = os.fstat(file.fileno()).st_size
        raw = b"" if size > limit_bytes else file.read(size + 1)
    if max(size, len(raw)) > limit_bytes:
        raise OSError(errno.EFBIG, f"is larger than {limit_bytes} bytes", str(path))
    return raw


def read_bounded(path: Path, limit_bytes: int, *, is_a: str = "a file of this sort is a few lines") -> str:
    """The text of a plain file of at most `limit_bytes`; a pipe or a device is not waited for.

    Parameters
    ----------
    path
        The file; links are followed.
    limit_bytes
        Larger ones are refused before they are read whole.
    is_a
        What a user expects of such a file, for the message about one that is too large.

    Raises
    ------
    InputInvalid
        If it cannot be read, is no plain file, too large, or not UTF-8.
    """
    try:
        with open(open_plain(path), "rb") as file:
            raw = file.read(limit_bytes + 1)
    except OSError as error:
        raise InputInvalid(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > limit_bytes:
        raise InputInvalid(f"{path.name}: larger than {limit_bytes} bytes; {is_a}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputInvalid(f"{path.name}: not UTF-8 text (byte {error.start}); save it as plain text") from error
