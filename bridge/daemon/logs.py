"""The daemon's log: JSON lines in a rotating file, readable lines on stderr; both carry job and iteration."""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import stat
import sys
import time
from pathlib import Path

MAX_FILE_BYTES = 10 * 1024 * 1024
KEPT_FILES = 4
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def fields(record: logging.LogRecord) -> dict[str, object]:
    """What was given as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def usable(file: Path) -> Path:
    """A path that a log can be written to.

    Raises
    ------
    OSError
        If a folder or a FIFO stands there: a log that is written to a FIFO waits for who reads it.
    """
    with contextlib.suppress(FileNotFoundError):
        mode = file.stat().st_mode
        if stat.S_ISDIR(mode) or stat.S_ISFIFO(mode):
            raise OSError(f"{file.name} is no file")
    return file


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, event, and the extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Make the line."""
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class LineFormatter(logging.Formatter):
    """For people and journald: level, event, key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Make the line."""
        words = [record.levelname.lower(), record.getMessage()]
        words += [f"{key}={_value(value)}" for key, value in fields(record).items()]
        line = " ".join(words)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _value(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(char.isspace() or char in '"=' for char in text) else text


def set_up(level: str, file: Path | None, stderr_level: str | None = None) -> None:
    """Send this process's log to stderr and, where one is given, to a rotating file.

    Parameters
    ----------
    level
        What is logged at all.
    file
        Rotated by size.
    stderr_level
        What is said on stderr; `level` when None. Nobody rotates the stderr of a daemon that a hook started.
    """
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    to_people = logging.StreamHandler(sys.stderr)
    to_people.setFormatter(LineFormatter())
    to_people.setLevel(stderr_level or level)
    root.addHandler(to_people)
    if file is not None:
        to_file = logging.handlers.RotatingFileHandler(
            file, maxBytes=MAX_FILE_BYTES, backupCount=KEPT_FILES, encoding="utf-8", delay=True
        )
        to_file.setFormatter(JsonFormatter())
        root.addHandler(to_file)
    # A full disk must not turn every log line into a traceback on stderr.
    logging.raiseExceptions = False
