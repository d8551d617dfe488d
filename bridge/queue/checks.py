"""What can be wrong inside the job database, found when it is opened and not when a job needs it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from .rows import COLUMNS, job_of
from .tables import SCHEMA_VERSION, statements

# What says something of the disk, of rights, or of another program; all else that SQLite says when it opens and looks
# through a file is about what is in it.
_NOT_THE_FILE = frozenset(
    (
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_AUTH,
    )
)

_SURELY_WELL = (
    "CASE WHEN json_valid(spec) THEN json_type(spec) = 'object' ELSE 0 END AND "
    "CASE WHEN result IS NULL THEN 1 WHEN json_valid(result) THEN json_type(result) = 'object' ELSE 0 END"
)


def is_damage(error: Exception, path: Path) -> bool:
    """Whether it is the file itself that is wrong, by what SQLite says of it, and not the disk or another program."""
    if isinstance(error, UnicodeDecodeError):
        return True  # an error's own words hold bytes of the file
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_READONLY:
        # A file that may be written is read-only to SQLite where its header asks for a format of the future.
        return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or (code is not None and code & 0xFF not in _NOT_THE_FILE)


def version_of(db: sqlite3.Connection) -> int:
    """The format of the tables; 0 of a database that was never used."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def is_newer(db: sqlite3.Connection) -> bool:
    """Whether a later version of this program wrote it."""
    return version_of(db) > SCHEMA_VERSION and ("table", "job") in _schema(db)


def find_damage(db: sqlite3.Connection) -> str | None:
    """Look through a whole database.

    Reads every page and every job: a daemon that found a bad one later would have to end in the middle of its work.

    Returns
    -------
    str or None
        What is wrong, for a sentence; None of a sound database, and of one that was never used.

    Raises
    ------
    sqlite3.Error
        If it cannot be read; `is_damage` says whether that is damage too.
    """
    version, found = version_of(db), _schema(db)
    if version == 0 and not found:
        return None
    if version != SCHEMA_VERSION or found != _wanted():
        return "its tables are not this program's"
    # quick_check would leave out whether an index agrees with its table, and so find fewer jobs than there are.
    (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        return " ".join(str(verdict).split())[:200]
    # SQLite sorts out quickly what is surely well; it knows no NaN, which Python writes and reads.
    for row in db.execute(f"SELECT {COLUMNS} FROM job WHERE NOT ({_SURELY_WELL})"):  # noqa: S608
        try:
            job_of(row)
        except (ValueError, TypeError):
            return f"job {row[0]} makes no sense"
    return None


def _schema(db: sqlite3.Connection) -> Mapping[tuple[str, str], str]:
    rows = db.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    # The words of a trigger come out of a set, and so in another order with each process.
    return {(type_, name): "" if type_ == "trigger" else sql for type_, name, sql in rows}


def _wanted() -> Mapping[tuple[str, str], str]:
    db = sqlite3.connect(":memory:")
    try:
        for statement in statements():
            db.execute(statement)
        return _schema(db)
    finally:
        db.close()
