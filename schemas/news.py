"""What the daemon tells those who follow it: one whole snapshot, then numbered changes of keyed rows.

`top`, `logs -f` and a page read the same. A snapshot holds tables of rows; an event puts one row or takes one away, so
that a board which takes every event in turn is what the next snapshot would be. Standard library only.
"""

from __future__ import annotations

from enum import StrEnum

from . import fields
from .frames import TypedFrame
from .wire import Message

MAX_NAME_CHARACTERS = 4800
"""A refinement is named by its job folder and output root."""
_MOST = 2**53


class NewsTable(StrEnum):
    """What there are rows of."""

    DAEMON = "daemon"  # one row, "daemon"
    HEALTH = "health"  # one row, "health"
    COUNTS = "counts"  # "jobs" by state, "queue" by priority, "calls" by outcome, "open" things
    WORKERS = "workers"  # by name
    REFINEMENTS = "refinements"  # by job folder and root
    CALLS = "calls"  # iterations that are under way, by id
    JOBS = "jobs"  # queued and running, by id
    FALLBACK = "fallback"  # one row, "last": when a correction was last wanted and not had


class What(StrEnum):
    """What happened, in a word."""

    JOB_QUEUED = "job_queued"
    JOB_STARTED = "job_started"
    JOB_PROGRESS = "job_progress"
    JOB_NOTED = "job_noted"  # its log has a new line
    JOB_INTERRUPTED = "job_interrupted"
    JOB_ENDED = "job_ended"
    CALL_BEGAN = "call_began"
    CALL_CHANGED = "call_changed"
    CALL_STANDARD = "call_standard"  # ended with the standard map, as planned
    CALL_CORRECTED = "call_corrected"
    CALL_FALLBACK = "call_fallback"  # ended with the standard map, where a corrected one was wanted
    WORKER_STARTED = "worker_started"
    WORKER_READY = "worker_ready"
    WORKER_ENDED = "worker_ended"
    WORKER_CHANGED = "worker_changed"
    REFINEMENT_CHANGED = "refinement_changed"
    REFINEMENT_RELEASED = "refinement_released"
    HEALTH_CHANGED = "health_changed"
    DAEMON_CHANGED = "daemon_changed"  # it drains, or takes work again
    COUNTED = "counted"


class Snapshot(TypedFrame):
    """All that the one who follows may see.

    Attributes
    ----------
    number
        The next event has the number after this one.
    at
        Seconds since 1970.
    tables
        Rows by table and key.
    """

    type = "snapshot"
    number: int = fields.whole(0, _MOST)
    at: float = fields.number(0)
    tables: dict[str, dict[str, Message]] = fields.table()


class NewsEvent(TypedFrame):
    """One change of one row.

    Attributes
    ----------
    number
        One more than that of the frame before; each follower has numbers of his own.
    at
        Seconds since 1970.
    what
        What happened: a word of `What`, or of a newer daemon.
    table, name
        Whose row: a word of `NewsTable`, and the row's key in it.
    row
        The whole row as it is now; of one that is gone, its last words.
    gone
        Whether the row is no longer in the table.
    """

    type = "event"
    number: int = fields.whole(1, _MOST)
    at: float = fields.number(0)
    what: str = fields.text(32)
    table: str = fields.text(32)
    name: str = fields.text(MAX_NAME_CHARACTERS)
    row: dict[str, object] = fields.table()
    gone: bool = fields.flag(default=False)


class NewsLost(Exception):  # noqa: N818 - no error of anybody's
    """An event does not follow on what is known; the daemon sends a new snapshot."""


class Board:
    """The rows as they are after a snapshot and the events since.

    Attributes
    ----------
    tables
        Rows by table and key.
    number
        Of the last frame that was taken; below 0 before the first snapshot.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Message]] = {}
        self.number = -1

    def take(self, told: Snapshot | NewsEvent) -> None:
        """Become what a frame says.

        Raises
        ------
        NewsLost
            If an event is not the next one.
        """
        if isinstance(told, Snapshot):
            self.tables = {name: dict(rows) for name, rows in told.tables.items() if isinstance(rows, dict)}
        elif told.number != self.number + 1 or self.number < 0:
            raise NewsLost(f"event {told.number} came after {self.number}")
        elif told.gone:
            self.tables.get(told.table, {}).pop(told.name, None)
        else:
            self.tables.setdefault(told.table, {})[told.name] = dict(told.row)
        self.number = told.number

    def rows(self, table: NewsTable) -> list[Message]:
        """The rows of a table, in the order in which they came."""
        return [row for row in self.tables.get(table, {}).values() if isinstance(row, dict)]

    def row(self, table: NewsTable, key: str) -> Message:
        """One row; empty where there is none."""
        row = self.tables.get(table, {}).get(key)
        return row if isinstance(row, dict) else {}
