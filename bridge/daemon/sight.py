"""What of each row somebody sees: owners and operators all of it, others nothing that tells of anybody's work."""

from __future__ import annotations

from cryobridge.schemas.news import NewsTable
from cryobridge.schemas.wire import Message

from .rights import Rights

_FOR_ALL = {
    NewsTable.DAEMON: ("state", "version", "started_at"),
    NewsTable.WORKERS: ("name", "device", "device_name", "state", "busy"),
}
_OWNED = (NewsTable.REFINEMENTS, NewsTable.CALLS, NewsTable.JOBS, NewsTable.FALLBACK)


class RowSight:
    """One asker's.

    Parameters
    ----------
    uid
        The asker, as the kernel knows him.
    everything
        Whether he is an operator.
    """

    def __init__(self, uid: int, everything: bool) -> None:
        self.uid = uid
        self.everything = everything

    @classmethod
    def of(cls, uid: int, rights: Rights) -> RowSight:
        """What a user sees now."""
        return cls(uid, rights.operates(uid))

    def row(self, table: NewsTable, row: Message | None) -> Message | None:
        """A row as he sees it; None where he sees nothing of it."""
        if row is None:
            return None
        if table is NewsTable.HEALTH:
            return self.health(row)
        if table in _OWNED:
            return row if self.everything or row.get("uid") == self.uid else None
        return row if self.everything or table not in _FOR_ALL else {key: row.get(key) for key in _FOR_ALL[table]}

    def health(self, row: Message) -> Message:
        """The health: what is wrong in words that name files and processes, or in words that do not."""
        problems = row["problems"] if self.everything else row["public"]
        return {**{key: row[key] for key in ("live", "ready", "degraded")}, "problems": list(problems)}
