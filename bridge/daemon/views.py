"""How things are, for whoever asks: status, what runs, the stream of news, the figures, the configuration in force.

Everything comes from memory; what an asker sees of it is decided in `sight`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Protocol

from cryobridge.schemas.news import NewsTable
from cryobridge.schemas.wire import Message

from ..queue.store import RELION_KIND
from ..refinements.fallback import Fallback
from .feed import Refinements
from .health import Health
from .news import Listener, News
from .rights import Rights
from .sight import RowSight

_STATUS_FOR_ALL = ("state", "version", "uptime_s")
_JOB_KEYS = ("job_id", "kind", "uid", "state", "progress", "worker")


class KnownRefinements(Refinements, Protocol):
    """The part of `bridge.refinements.pairing.Sessions` that is needed here."""

    @property
    def last_fallback(self) -> Fallback | None:
        """When a correction was last wanted and not had."""


class DaemonViews:
    """Answers those who want to know.

    Parameters
    ----------
    counts
        Jobs and iterations by state, kept up to date.
    status, health
        Give what the daemon says of itself.
    metrics
        Gives the figures as text.
    settings
        The configuration in force: dotted key -> value and origin.
    """

    def __init__(
        self,
        news: News,
        rights: Rights,
        refinements: KnownRefinements,
        counts: Mapping[str, int],
        status: Callable[[], Message],
        health: Callable[[], Health],
        metrics: Callable[[], str],
        settings: Mapping[str, Message],
    ) -> None:
        self._news = news
        self._rights = rights
        self._refinements = refinements
        self._counts = counts
        self._status = status
        self._health = health
        self._metrics = metrics
        self._settings = settings

    def status(self, uid: int) -> Message:
        """How the daemon is."""
        sight = RowSight.of(uid, self._rights)
        fields = self._status()
        workers = [sight.row(NewsTable.WORKERS, {**one, "busy": bool(one["tasks"])}) for one in fields["workers"]]
        fallback = self._refinements.last_fallback
        if not sight.everything:
            fields = {key: fields[key] for key in _STATUS_FOR_ALL}
        return {
            **fields,
            "workers": workers,
            "health": sight.health(self._health().as_row()),
            "sessions": self._seen(sight, NewsTable.REFINEMENTS, self._refinements.snapshot()),
            "queue": {
                **{str(state): n for state, n in self._counts.items()},
                "open_calls": self._refinements.open_calls,
            },
            "last_fallback": None if fallback is None else sight.row(NewsTable.FALLBACK, asdict(fallback)),
        }

    def processes(self, uid: int) -> Message:
        """What runs or waits, and which refinements are warm."""
        sight = RowSight.of(uid, self._rights)
        jobs = sorted(
            self._news.seen_by(sight, NewsTable.JOBS),
            key=lambda row: (row["state"] != "running", row["priority"] != "interactive"),
        )
        calls = self._seen(sight, NewsTable.CALLS, self._refinements.running())
        return {
            "processes": calls + [{key: row[key] for key in _JOB_KEYS} for row in jobs if row["kind"] != RELION_KIND],
            "sessions": self._seen(sight, NewsTable.REFINEMENTS, self._refinements.snapshot()),
        }

    def follow(self, listener: Listener, *, once: bool) -> None:
        """Begin to tell what happens."""
        self._news.follow(listener, once=once)

    def metrics(self) -> Message:
        """The figures; they name nobody, so they are for all."""
        return {"text": self._metrics()}

    def settings(self, uid: int) -> Message:
        """The configuration that is in force."""
        self._rights.check_operates(uid)
        return {"settings": dict(self._settings)}

    def tick(self, now: float) -> None:
        """Look after those who follow."""
        self._news.tick(now)

    def gone(self, listener: object) -> None:
        """A connection has ended."""
        self._news.gone(listener)

    @staticmethod
    def _seen(sight: RowSight, table: NewsTable, rows: list[Message]) -> list[Message]:
        return [row for row in rows if sight.row(table, row) is not None]
