"""The figures as a file that Prometheus' node exporter reads: whole, and gone when the daemon ends in order.

A daemon that was killed leaves its last file; the exporter tells how old that is.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)

WRITE_EVERY_S = 15.0
_MODE = 0o644
"""The exporter is another user."""


class MetricsFile:
    """The file at one place.

    Parameters
    ----------
    path
        The exporter reads what ends in `.prom`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._problem = ""

    def write(self, text: str) -> None:
        """Put the figures there; where that cannot be done, the log says so once."""
        try:
            # Left by one that was killed.
            self._part.unlink(missing_ok=True)
            fd = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(fd, "w", encoding="utf-8") as stream:
                stream.write(text)
                os.fchmod(fd, _MODE)
            self._part.replace(self._path)
        except OSError as error:
            problem = error.strerror or str(error)
            if problem != self._problem:
                log.warning("metrics_file cannot be written", extra={"path": str(self._path), "error": problem})
            self._problem = problem
        else:
            self._problem = ""

    def remove(self) -> None:
        """Take it away, so that nobody takes old figures for new ones."""
        with contextlib.suppress(OSError):
            self._path.unlink()
