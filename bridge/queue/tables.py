"""The tables of the store, and the triggers that hold whoever writes to the file to the table of states.

A change here needs a new `SCHEMA_VERSION` and a step from the one before in `Store._open`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from cryobridge.schemas.state import MAX_ATTEMPTS, TRANSITIONS, JobState

SCHEMA_VERSION = 1

_STATES = ", ".join(f"'{state}'" for state in JobState)
_ALLOWED = " OR ".join(
    f"(OLD.state = '{now}' AND NEW.state = '{then}')" for now, following in TRANSITIONS.items() for then in following
)
TABLES = f"""
CREATE TABLE job (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    uid INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ({_STATES})),
    reason TEXT,
    text TEXT NOT NULL DEFAULT '',
    spec TEXT NOT NULL,
    result TEXT,
    request_id TEXT,
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND {MAX_ATTEMPTS}),
    abort_requested INTEGER NOT NULL DEFAULT 0 CHECK (abort_requested IN (0, 1)),
    created_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL
) STRICT;
CREATE INDEX job_by_state ON job (state, priority, number);
CREATE UNIQUE INDEX job_by_request ON job (uid, request_id) WHERE request_id IS NOT NULL;
CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    at REAL NOT NULL,
    type TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX event_by_job ON event (job_id, id);
CREATE TABLE pulse (id INTEGER PRIMARY KEY CHECK (id = 1), at REAL NOT NULL) STRICT;
CREATE TRIGGER job_begins BEFORE INSERT ON job WHEN NEW.state != '{JobState.QUEUED}'
BEGIN SELECT RAISE(ABORT, 'a job begins queued'); END;
CREATE TRIGGER job_moves BEFORE UPDATE OF state ON job WHEN OLD.state != NEW.state AND NOT ({_ALLOWED})
BEGIN SELECT RAISE(ABORT, 'this change of state is not allowed'); END;
CREATE TRIGGER event_is_kept BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
"""


def statements() -> Iterator[str]:
    """The statements that make an empty database ready, one by one."""
    pending = ""
    for line in TABLES.strip().splitlines():
        pending += line + "\n"
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
