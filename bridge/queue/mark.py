"""How much the job database has booked, kept in a file of its own: the sign of jobs that the database has lost.

An emptied database, and one whose newest changes went with a damaged log, look like sound databases with fewer jobs.
The mark is written after each change has reached the disk, and not waited for: it may lag behind after a power cut,
and never runs ahead. So a mark above what the database knows means that something is gone.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import zlib
from pathlib import Path

_LINE = re.compile(rb"(\d{20}) ([0-9a-f]{8})\n")
_LINE_BYTES = 30


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

    def read(self) -> int | None:
        """The last number written; None where it is not there to be read as it was written."""
        if self._fd is None:
            return 0
        with contextlib.suppress(OSError):
            found = _LINE.fullmatch(os.pread(self._fd, _LINE_BYTES, 0))
            if found is not None and int(found[2], 16) == zlib.crc32(found[1]):
                return int(found[1])
        return None

    def write(self, number: int) -> None:
        """Note a number."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                digits = b"%020d" % number
                os.pwrite(self._fd, b"%s %08x\n" % (digits, zlib.crc32(digits)), 0)

    def close(self) -> None:
        """Let the file go."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
