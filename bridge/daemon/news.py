"""What happens, kept as rows in memory, and told to whoever follows it.

Each follower gets one snapshot of what he may see, and then every change of it under numbers of his own: one that is
missing is a loss, and numbers tell nothing of what others do. A follower that does not take what he is told loses what
comes next and gets a new snapshot once he has taken the rest, so nothing is kept for him here. Knows no database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from cryobridge.schemas.bounds import MAX_FOLLOWERS_PER_USER, MAX_UNTAKEN_NEWS_BYTES
from cryobridge.schemas.errors import JobRejected
from cryobridge.schemas.frames import TypedFrame
from cryobridge.schemas.messages import Heartbeat
from cryobridge.schemas.news import NewsEvent, NewsTable, Snapshot, What
from cryobridge.schemas.wire import HEARTBEAT_S, Message

from .rights import Rights
from .sight import RowSight

SNAPSHOT_EVERY_S = 1.0
"""A follower that loses events is told how things are no more often than this."""


class Listener(Protocol):
    """A connected program that follows."""

    @property
    def uid(self) -> int:
        """Its user, as the kernel knows it."""

    @property
    def unsent_bytes(self) -> int:
        """How much it has not taken yet."""

    def send(self, frame: TypedFrame) -> None:
        """Queue a frame."""


@dataclass(frozen=True)
class Change:
    """A row as it was and as it is; `row` of one that is gone are its last words."""

    what: What
    table: NewsTable
    name: str
    before: Message | None
    row: Message
    gone: bool = False


@dataclass(eq=False)
class _Follower:
    listener: Listener
    sight: RowSight
    told_at: float
    number: int = 0
    behind: bool = False
    snapshot_at: float = 0.0


class News:
    """The rows, and those who follow them.

    Parameters
    ----------
    rights
        Who sees what.
    clock
        Monotonic seconds.
    wall_clock
        Seconds since 1970.
    """

    def __init__(self, rights: Rights, clock: Callable[[], float], wall_clock: Callable[[], float] = time.time) -> None:
        self._rights = rights
        self._clock = clock
        self._wall_clock = wall_clock
        self._tables: dict[NewsTable, dict[str, Message]] = {table: {} for table in NewsTable}
        self._followers: list[_Follower] = []
        self._watchers: list[Callable[[Change], None]] = []

    # ---- from the parts

    def put(self, what: What, table: NewsTable, name: str, row: Message) -> None:
        """Say what a row is now; a row that is as it was is no news, unless its log has a new line."""
        before = self._tables[table].get(name)
        if before == row and what is not What.JOB_NOTED:
            return
        self._tables[table][name] = row
        self._tell(Change(what, table, name, before, row))

    def drop(self, what: What, table: NewsTable, name: str, last: Message | None = None) -> None:
        """Say that a row is gone, with its last words; nothing where there is no such row."""
        before = self._tables[table].pop(name, None)
        if before is not None:
            self._tell(Change(what, table, name, before, before if last is None else last, gone=True))

    def rows(self, table: NewsTable) -> Mapping[str, Message]:
        """The rows of a table by name; not to be changed."""
        return self._tables[table]

    def watch(self, callback: Callable[[Change], None]) -> None:
        """Have every change told to a part of this process, whoever may see it."""
        self._watchers.append(callback)

    # ---- from those who follow

    def seen_by(self, sight: RowSight, table: NewsTable) -> list[Message]:
        """The rows of a table as somebody sees them."""
        seen = (sight.row(table, row) for row in self._tables[table].values())
        return [row for row in seen if row is not None]

    def follow(self, listener: Listener, *, once: bool = False) -> None:
        """Send a snapshot now, and from then on every change, unless it is for once.

        Raises
        ------
        JobRejected
            If the connection follows already, or its user has as many that do as he may.
        """
        now = self._clock()
        follower = _Follower(listener, RowSight.of(listener.uid, self._rights), now)
        if not once:
            if any(one.listener is listener for one in self._followers):
                raise JobRejected("this connection follows already")
            if sum(one.listener.uid == listener.uid for one in self._followers) >= MAX_FOLLOWERS_PER_USER:
                raise JobRejected(
                    f"{MAX_FOLLOWERS_PER_USER} of your connections follow already; end one, e.g. a 'cryobridge top'"
                )
            self._followers.append(follower)
        self._send_snapshot(follower, now)

    def gone(self, listener: object) -> None:
        """A connection has ended."""
        self._followers = [one for one in self._followers if one.listener is not listener]

    def tick(self, now: float) -> None:
        """Catch up with those who have taken what they had, and show life to the others."""
        for one in list(self._followers):
            everything = self._rights.operates(one.listener.uid)
            if everything != one.sight.everything:
                one.sight = RowSight(one.listener.uid, everything)
                one.behind, one.snapshot_at = True, 0.0
            if one.behind:
                if not one.listener.unsent_bytes and now - one.snapshot_at >= SNAPSHOT_EVERY_S:
                    self._send_snapshot(one, now)
            elif now - one.told_at >= HEARTBEAT_S:
                one.told_at = now
                one.listener.send(Heartbeat())

    # ---- inside

    def _tell(self, change: Change) -> None:
        for callback in self._watchers:
            callback(change)
        now = self._clock()
        for one in list(self._followers):
            if one.behind:
                continue
            before = one.sight.row(change.table, change.before)
            row = one.sight.row(change.table, change.row)
            if row is None or (row == before and not change.gone and change.what is not What.JOB_NOTED):
                continue
            if one.listener.unsent_bytes > MAX_UNTAKEN_NEWS_BYTES:
                one.behind = True
                continue
            one.number += 1
            one.told_at = now
            one.listener.send(
                NewsEvent(
                    number=one.number,
                    at=self._wall_clock(),
                    what=change.what,
                    table=change.table,
                    name=change.name,
                    row=row,
                    gone=change.gone,
                )
            )

    def _send_snapshot(self, follower: _Follower, now: float) -> None:
        follower.behind, follower.told_at, follower.snapshot_at = False, now, now
        follower.number += 1
        tables = {
            table.value: {
                name: row for name, whole in rows.items() if (row := follower.sight.row(table, whole)) is not None
            }
            for table, rows in self._tables.items()
        }
        follower.listener.send(Snapshot(number=follower.number, at=self._wall_clock(), tables=tables))
