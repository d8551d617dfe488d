"""The records beside the run, iterations.csv and report.html, once the map is in place.

Nothing here may cost a map, a status or time: whatever fails, the records stay as they were, and no word is said.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from cryobridge.schemas import iterations
from cryobridge.schemas.iterations import IterationFigures

from .call import Descriptors, read_whole_text
from .conversation import Conversation, Outcome
from .mapcheck import checksum
from .names import CallName
from .outputs import OutputFile, unique
from .verdict import CORRECTED, STANDARD

_LOCK_PATIENCE_S = 0.1


class History:
    """One call's part of its refinement's records. Half 1 writes for both halves; half 0 is the joined call.

    Parameters
    ----------
    wanted
        Whether the refinement is corrected at all; else only records that are there already go on.
    """

    def __init__(self, name: CallName, *, wanted: bool) -> None:
        self._name = name
        self._folder = name.bridge_folder
        self._makes_folder = wanted and name.half == 1
        self._page: OutputFile | None = None
        self.talk: Conversation | None = None

    def lend(self, descriptors: Descriptors) -> None:
        """Have the daemon draw the page at the joined call, of the iterations so far."""
        if self._name.half != 0 or not os.path.isdir(self._folder):
            return
        with contextlib.suppress(OSError):
            rows_at = len(descriptors.names)
            descriptors.open("history_in", os.path.join(self._folder, iterations.FILE_NAME))
            if len(descriptors.names) > rows_at:
                self._page = OutputFile.on_disk(self._folder, f"{self._name.pair}.{unique()}.report", 0)
                descriptors.lend("report_out", self._page.fd)

    def write(self, outcome: Outcome, seconds: float) -> None:
        """Add the row of this call, and put the page in place where the daemon drew one."""
        if self._name.half == 2:
            return
        # A call that has its map is over for RELION: not even a mistake of ours may change that now.
        with contextlib.suppress(Exception):
            self._place_page()
        with contextlib.suppress(Exception):
            self._write_row(outcome, seconds)

    def close(self) -> None:
        """Remove a page that was not placed."""
        if self._page is not None:
            self._page.discard()
            self._page = None

    def _write_row(self, outcome: Outcome, seconds: float) -> None:
        if self._makes_folder:
            os.makedirs(self._folder, exist_ok=True)
        elif not os.path.isdir(self._folder):
            return
        new = iterations.row(
            self._name.iteration,
            f"{self._name.kind}{self._name.number:03d}" + ("" if self._name.half else " joined"),
            outcome.used or STANDARD,
            figures=self._figures(outcome),
            seconds=seconds,
            code=str(outcome.code),
            why=outcome.line,
        )
        path = os.path.join(self._folder, iterations.FILE_NAME)
        with _alone(self._folder):
            rows = []
            with contextlib.suppress(FileNotFoundError):
                rows = iterations.parse(read_whole_text(path, iterations.MAX_BYTES))
            text = iterations.as_text(iterations.with_row(rows, new)).encode("utf-8", "replace")
            output = OutputFile.on_disk(self._folder, f"{self._name.pair}.{unique()}.csv", 0)
            try:
                os.write(output.fd, text)
                if os.fstat(output.fd).st_size == len(text):
                    output.place(path)
            finally:
                output.discard()

    def _figures(self, outcome: Outcome) -> IterationFigures:
        """What is known of the map that was taken; of a correction that was not, only the resolution is told."""
        told = outcome.figures or (self.talk.figures if self.talk is not None else IterationFigures())
        return told if outcome.used == CORRECTED else IterationFigures(resolution_A=told.resolution_A)

    def _place_page(self) -> None:
        written = self.talk.report if self.talk is not None else None
        if self._page is None or written is None:
            return
        fd = self._page.fd
        if 0 < os.fstat(fd).st_size == written.size and checksum(fd) == written.crc32:
            self._page.place(os.path.join(self._folder, iterations.PAGE_NAME))


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Keep out the hooks of other bodies of the iteration, as far as the file system can, and never for long."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end = time.monotonic() + _LOCK_PATIENCE_S
        while time.monotonic() < end:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.005)
            except OSError:
                break
            else:
                break
        yield
    finally:
        os.close(fd)
