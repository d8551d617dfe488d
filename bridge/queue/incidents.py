"""What happened to the job database, until an operator has seen it: a note beside it, and what was set aside.

The note is a text file. As long as it is there, the daemon says that something is wrong, over any number of restarts;
who removes it has seen it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

_MOST_CHARACTERS = 2000


class Incidents:
    """The notes beside one database.

    Parameters
    ----------
    database
        The database file, which need not be there.
    clock
        Seconds since 1970.
    """

    def __init__(self, database: Path, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._unwritten: list[str] = []

    def place_aside(self) -> Path:
        """A path beside the database that is not in use, for what is set aside; its note ends in `.txt`."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        for number in range(1, 10_000):
            name = f"{self._prefix}{moment}{f'-{number}' if number > 1 else ''}.sqlite"
            place = self._database.with_name(name)
            if not os.path.lexists(place) and not os.path.lexists(place.with_suffix(".txt")):
                return place
        raise OSError(f"{self._database.parent}: too many damaged databases")

    def note(self, place: Path, text: str, aside: Sequence[Path] = ()) -> None:
        """Write down what happened, in one sentence, and what was set aside under `place`."""
        kept = f"; kept for a closer look: {', '.join(path.name for path in aside)}" if aside else ""
        log.error("the job database was damaged", extra={"text": text + kept})
        try:
            with place.with_suffix(".txt").open("x", encoding="utf-8") as stream:
                stream.write(f"{text}{kept}\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError:
            # A disk that is full does not make it unsaid; it is said until the daemon ends.
            self._unwritten.append(text + kept)

    def problems(self) -> list[str]:
        """What nobody has seen yet, newest last, and how to say that it has been seen."""
        said = [f"{_text(path)} (read and remove {path} to end this warning)" for path in self._notes()]
        return [*said, *self._unwritten]

    @property
    def _prefix(self) -> str:
        return f"{self._database.stem}.damaged-"

    def _notes(self) -> list[Path]:
        with contextlib.suppress(OSError):
            names = sorted(os.listdir(self._database.parent))
            return [
                self._database.with_name(name)
                for name in names
                if name.startswith(self._prefix) and name.endswith(".txt")
            ]
        return []


def _text(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, encoding="utf-8", errors="replace") as stream:
            return " ".join(stream.read(_MOST_CHARACTERS).split())
    except OSError:
        return "the job database was damaged"
