"""Reads the daemon's log file back for people: the last lines, in this place's time, over a rotation of the file."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cryobridge.schemas.errors import InputInvalid

LOG_NAME = "daemon.log"
MOST_BYTES = 4 * 1024 * 1024
"""So far back from the end of a file lines are looked for."""
_SHOWN_APART = frozenset(("time", "level", "logger", "event", "exception"))


class DaemonLog:
    """The log of one daemon, running or not.

    Parameters
    ----------
    path
        The file that is written now; an older one beside it has `.1` behind its name.

    Raises
    ------
    InputInvalid
        If it is not there, is no file, or may not be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = _open(path)
        self._rest = b""

    def close(self) -> None:
        """Let the file go."""
        self._stream.close()

    def last(self, count: int) -> list[str]:
        """The last lines, oldest first; `new_lines` goes on from there."""
        lines = self._take(_tail(self._stream))
        if len(lines) < count:
            with contextlib.suppress(InputInvalid), _open(self._path.with_name(f"{self._path.name}.1")) as older:
                lines = [*_tail(older).splitlines(), *lines]
        return [shown(line) for line in lines[-count:]]

    def new_lines(self) -> Iterator[str]:
        """What was written since; goes over to the new file when the log was rotated."""
        yield from map(shown, self._take(self._stream.read(MOST_BYTES)))
        with contextlib.suppress(OSError, InputInvalid):
            if not os.path.samestat(os.fstat(self._stream.fileno()), self._path.stat()):
                fresh = _open(self._path)
                self._stream.close()
                self._stream, self._rest = fresh, b""
                yield from map(shown, self._take(self._stream.read(MOST_BYTES)))

    def _take(self, read: bytes) -> list[bytes]:
        """Whole lines; what follows the last one may be half a line, and waits for its end."""
        *lines, self._rest = (self._rest + read).split(b"\n")
        return lines


def shown(line: bytes) -> str:
    """A line of the log as a person reads it: time, level, event, key=value."""
    text = line.decode("utf-8", "replace")
    try:
        told = json.loads(text)
        at = datetime.datetime.fromisoformat(told["time"]).astimezone()
        words = [at.strftime("%Y-%m-%d %H:%M:%S"), f"{told['level']:<7}", str(told["event"])]
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return text
    words += [f"{key}={_value(value)}" for key, value in told.items() if key not in _SHOWN_APART]
    return "\n".join([" ".join(words), *str(told.get("exception", "")).splitlines()])


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.dumps(text, ensure_ascii=False) if not text or any(char.isspace() for char in text) else text


def _open(path: Path) -> BinaryIO:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InputInvalid(f"{path}: {error.strerror}; the daemon's user can read its log") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InputInvalid(f"{path}: is no file")
    return os.fdopen(fd, "rb")


def _tail(stream: BinaryIO) -> bytes:
    """The end of a file, from the start of a line on."""
    size = os.fstat(stream.fileno()).st_size
    stream.seek(max(0, size - MOST_BYTES))
    read = stream.read(MOST_BYTES)
    return read if size <= MOST_BYTES else read.partition(b"\n")[2]
