"""How much the job database has booked, kept in a file of its own: the sign of jobs that the database has lost.

An emptied database, and one whose newest changes went with a damaged log, look like sound databases with fewer jobs.
The mark is written after each change has reached the disk, and not waited for: it may lag behind after a power cut,
and never runs ahead. So a mark above what the database knows means that something is gone.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

_DIGITS = 20


class Mark:
    """The number of the last event that was booked. A mark that cannot be kept is no reason to do without jobs.

    Parameters
    ----------
    path
        A plain file; made if absent.
    """

    def __init__(self, path: Path) -> None:
        self._fd: int | None = None
        fresh = not os.path.lexists(path)
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
            if stat.S_ISREG(os.fstat(fd).st_mode):
                self._fd = fd
            else:
                os.close(fd)
        if fresh:
            self.write(0)

    def read(self) -> int:
        """The last number written; 1 where that cannot be read, since something was there to be counted."""
        if self._fd is None:
            return 0
        try:
            return int(os.pread(self._fd, _DIGITS + 1, 0))
        except (OSError, ValueError):
            return 1

    def write(self, number: int) -> None:
        """Note a number."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._fd, b"%0*d\n" % (_DIGITS, number), 0)

    def close(self) -> None:
        """Let the file go."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
