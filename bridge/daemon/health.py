"""Whether the daemon lives, can take work, and does all it should.

What is wrong is said twice: to operators in words that name files, processes and what they were at, to everybody else
in words that do not, because a worker's last words may hold the name of somebody's file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

WORKER_TROUBLE = "a worker restarts or stands still; the daemon's operators see why"
STORE_TROUBLE = "the job database cannot be written at the moment"
INCIDENT = "the job database was damaged, or is not where it should be; the daemon's operators see more"
SOCKET_LOST = "the socket file has been removed or replaced; restart the daemon"


@dataclass(frozen=True)
class Health:
    """live: the loop turns. ready: calls are taken. degraded: something is wrong that it works around.

    `problems` are for operators, `public` says the same to everybody.
    """

    live: bool
    ready: bool
    degraded: bool
    problems: list[str] = field(default_factory=list)
    public: list[str] = field(default_factory=list)

    def as_row(self) -> dict[str, Any]:
        """As `bridge.daemon.sight` takes it."""
        return {
            "live": self.live,
            "ready": self.ready,
            "degraded": self.degraded,
            "problems": list(self.problems),
            "public": list(self.public),
        }


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
    found = [(worker_problem, WORKER_TROUBLE), (store_problem, STORE_TROUBLE), *((one, INCIDENT) for one in incidents)]
    said = [(text, public) for text, public in found if text]
    if not socket_ours:
        said.append((SOCKET_LOST, SOCKET_LOST))
    return Health(
        live=True,
        ready=accepting and not workers_broken and socket_ours,
        degraded=bool(said),
        problems=[str(text) for text, _ in said],
        public=list(dict.fromkeys(public for _, public in said)),
    )
