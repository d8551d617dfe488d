"""Whether the daemon lives, can take work, and does all it should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Health:
    """live: the loop turns. ready: calls are taken. degraded: something is wrong that it works around."""

    live: bool
    ready: bool
    degraded: bool
    problems: list[str] = field(default_factory=list)


def judge(
    *,
    accepting: bool,
    worker_problem: str | None,
    workers_broken: bool,
    store_problem: str | None,
    socket_ours: bool,
    incidents: Sequence[str] = (),
) -> Health:
    """Put the parts' own reports together.

    Parameters
    ----------
    accepting
        False while draining.
    worker_problem
        Why a worker is not up, or None.
    workers_broken
        Whether no worker can be started at all.
    store_problem
        Why the database cannot be written, or None.
    socket_ours
        False when somebody has removed or replaced the socket file.
    incidents
        What has happened to the database and nobody has seen yet.
    """
    problems = [text for text in (worker_problem, store_problem, *incidents) if text]
    if not socket_ours:
        problems.append("the socket file has been removed or replaced; restart the daemon")
    return Health(
        live=True,
        ready=accepting and not workers_broken and socket_ours,
        degraded=bool(problems),
        problems=problems,
    )
