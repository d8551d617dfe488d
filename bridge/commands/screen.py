"""What `top` draws: the daemon's rows as a page of tables, made anew from a board whenever it has changed.

Knows nothing of sockets and keys. Everything that came from others is made printable before it is shown.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from cryobridge.schemas.news import Board, NewsTable
from cryobridge.schemas.wire import Message

from ..terminal import printable
from ..users import user_name
from . import render

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table as RichTable

RATE_S = 60.0
BAR_CELLS = 24
MOST_ROWS = 12
"""Of refinements; who wants all of them asks `ps`."""


class CallRate:
    """Calls per minute, from how many have been answered since the daemon began."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now: float, total: int) -> None:
        """Take the number of now (monotonic seconds)."""
        if self._seen and total < self._seen[-1][1]:
            self._seen.clear()  # another daemon
        if not self._seen or total != self._seen[-1][1]:
            self._seen.append((now, total))
        # The last one from before the minute says how many there were when it began.
        while len(self._seen) > 1 and self._seen[1][0] < now - RATE_S:
            self._seen.popleft()

    def per_minute(self, now: float) -> int | None:
        """Calls of the last minute; None before the first number."""
        if not self._seen:
            return None
        begin = self._seen[0][1]
        for at, total in self._seen:
            if at <= now - RATE_S:
                begin = total
        return self._seen[-1][1] - begin


class Screen:
    """The page.

    Parameters
    ----------
    board
        What is known; changed by others.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._rate = CallRate()
        self._names: dict[int, str] = {}

    def note(self, now: float) -> None:
        """Take notice of what the board says now (monotonic seconds)."""
        self._rate.note(now, sum(self._board.row(NewsTable.COUNTS, "calls").values()))

    def page(self, now: float, wall_now: float) -> RenderableType:
        """The whole page; `now` is in monotonic seconds, `wall_now` in seconds since 1970."""
        from rich.console import Group

        parts: list[RenderableType] = [self._head(now, wall_now), self._devices()]
        problems = self._board.row(NewsTable.HEALTH, "health").get("problems") or []
        parts += [_text(f"problem: {problem}", "red") for problem in problems]
        if self._board.rows(NewsTable.REFINEMENTS):
            parts += ["", self._refinements(wall_now)]
        return Group(*parts, "", self._queue())

    # ---- parts

    def _head(self, now: float, wall_now: float) -> RenderableType:
        daemon, calls = self._board.row(NewsTable.DAEMON, "daemon"), self._board.row(NewsTable.COUNTS, "calls")
        since = daemon.get("started_at")
        up = render.duration(wall_now - since) if isinstance(since, int | float) else "-"
        opened = self._board.row(NewsTable.COUNTS, "open").get("calls", 0)
        rate = self._rate.per_minute(now)
        words = [f"cryobridge {daemon.get('version')}", str(daemon.get("state")), f"up {up}"]
        words.append(f"calls: {opened} under way, {rate or 0} in the last minute")
        words += [f"{count} {outcome}" for outcome, count in calls.items()]
        line = "   ".join(words)
        last = self._board.row(NewsTable.FALLBACK, "last")
        if last:
            where = f"{last.get('session')}, iteration {last.get('iteration')}"
            line += f"\nlast fallback: {render.moment(last.get('at'))} {where}: {printable(last.get('line'))}"
        return _text(line)

    def _devices(self) -> RenderableType:
        grid = _grid("DEVICE", "STATE", "MEMORY", "", "DOING")
        for worker in self._board.rows(NewsTable.WORKERS):
            fraction, doing = self._doing(worker)
            device = worker.get("device_name") or worker.get("device")
            grid.add_row(
                _text(device), _text(worker.get("state")), _text(_memory(worker)), _text(bar(fraction)), _text(doing)
            )
        return grid

    def _doing(self, worker: Message) -> tuple[float | None, str]:
        """How far the work of a worker is, and whose it is, as far as that is shown."""
        name = worker.get("name")
        for call in self._board.rows(NewsTable.CALLS):
            if call.get("worker") == name:
                halves = ", ".join(f"half {half} {state}" for half, state in (call.get("halves") or {}).items())
                return None, f"{self._user(call)}: {call.get('session')} iteration {call.get('iteration')}: {halves}"
        for job in self._board.rows(NewsTable.JOBS):
            if job.get("worker") == name and job.get("state") == "running":
                progress = job.get("progress") or {}
                words = f"{self._user(job)}: {job.get('kind')} {job.get('job_id')}"
                text = progress.get("text")
                return progress.get("fraction"), f"{words}: {text}" if text else words
        for lease in (one for row in self._board.rows(NewsTable.DAEMON) for one in row.get("leases") or []):
            if lease.get("device") == worker.get("device") and lease.get("state") in ("active", "leaving"):
                return None, f"lent to {self._user(lease)}: {lease.get('kind')}"
        return None, "others' work" if worker.get("busy") else ""

    def _refinements(self, wall_now: float) -> RenderableType:
        grid = _grid("REFINEMENT", "USER", "ITERATION", "CORRECTED", "STANDARD", "FAILED", "IDLE", "LAST")
        rows = sorted(self._board.rows(NewsTable.REFINEMENTS), key=lambda row: -(row.get("last_call_at") or 0))
        for row in rows[:MOST_ROWS]:
            at = row.get("last_call_at")
            idle = render.duration(max(0.0, wall_now - at)) if isinstance(at, int | float) else "-"
            counts = [row.get(key) for key in ("iteration", "corrected", "standard", "failed")]
            cells = [row.get("session"), self._user(row), *counts, idle, row.get("last")]
            grid.add_row(*(_text(cell) for cell in cells))
        if len(rows) > MOST_ROWS:
            grid.add_row(_text(f"and {len(rows) - MOST_ROWS} more"))
        return grid

    def _queue(self) -> RenderableType:
        jobs = self._board.rows(NewsTable.JOBS)
        waiting = Counter(self._user(job) for job in jobs if job.get("state") == "queued")
        running = Counter(self._user(job) for job in jobs if job.get("state") == "running")
        grid = _grid("QUEUE", "RUNNING", "WAITING")
        for user in sorted({*waiting, *running}):
            grid.add_row(_text(user), _text(running[user] or "0"), _text(waiting[user] or "0"))
        hidden = sum(self._board.row(NewsTable.COUNTS, "queue").values()) - waiting.total()
        if hidden > 0:
            grid.add_row(_text("others"), _text("-"), _text(hidden))
        return grid if grid.row_count else _text("no jobs run or wait")

    def _user(self, row: Message) -> str:
        uid = row.get("uid")
        if not isinstance(uid, int):
            return "-"
        if uid not in self._names:
            self._names[uid] = user_name(uid)
        return self._names[uid]


def bar(fraction: float | None) -> str:
    """A bar that is so far filled; empty where it is not known."""
    if not isinstance(fraction, int | float):
        return ""
    fraction = max(0.0, min(1.0, fraction))
    whole = round(fraction * BAR_CELLS)
    return f"{'█' * whole}{'░' * (BAR_CELLS - whole)} {fraction:4.0%}"


def _memory(worker: Message) -> str:
    total, free, rss = (worker.get(key) for key in ("device_total_bytes", "device_free_bytes", "rss_bytes"))
    if isinstance(total, int) and isinstance(free, int):
        return f"{render.size(total - free)} of {render.size(total)}"
    return render.size(rss) if rss else "-"


def _text(cell: object, style: str = "") -> RenderableType:
    from rich.text import Text

    # Text, not str: a folder called [red] is no markup. Line breaks are ours.
    return Text("\n".join(printable(line) if line else "" for line in str(cell).split("\n")), style=style)


def _grid(*columns: str) -> RichTable:
    from rich import table

    grid = table.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    return grid
