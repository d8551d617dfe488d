"""A refinement between its calls, and the program behind its hooks, so that a warm state can end with that.

RELION starts the hook through a shell, so the program is a grandparent of the process on the socket.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psutil

_NAMES = ("relion_refine",)
_MAX_GENERATIONS = 8


@dataclass(frozen=True)
class Refiner:
    """A process, told apart from a later one with the same id by its start time."""

    pid: int
    created: float

    def alive(self) -> bool:
        """Whether it still runs."""
        try:
            process = psutil.Process(self.pid)
            return process.create_time() == self.created and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return True  # it is there, and not ours to look at


def find_refiner(pid: int) -> Refiner | None:
    """Find the refinement program among the ancestors of `pid`; None where there is none to be seen."""
    try:
        process: psutil.Process | None = psutil.Process(pid)
        for _ in range(_MAX_GENERATIONS):
            process = process.parent() if process is not None else None
            if process is None:
                return None
            if process.name().startswith(_NAMES):
                return Refiner(process.pid, process.create_time())
    except (psutil.Error, ValueError):
        return None  # another pid namespace, or gone already
    return None


@dataclass(eq=False)
class Refinement:
    """What is known of one refinement between its iterations.

    Times are monotonic seconds but `started_at`, which is seconds since 1970.
    """

    session: str
    uid: int
    job_dir: str
    root: str
    started_at: float
    last_call: float
    iteration: int = -1
    calls: int = 0
    corrected: int = 0
    standard: int = 0
    failed: int = 0
    refiner: Refiner | None = None
    ended: float | None = None
    last_line: str = ""
    watched: bool = False

    def snapshot(self, now: float) -> dict[str, Any]:
        """What `status` and `ps` show of it."""
        return {
            "session": self.session,
            "uid": self.uid,
            "job_dir": self.job_dir,
            "root": self.root,
            "started_at": self.started_at,
            "iteration": self.iteration,
            "calls": self.calls,
            "corrected": self.corrected,
            "standard": self.standard,
            "failed": self.failed,
            "idle_s": round(now - self.last_call, 1),
            "pid": self.refiner.pid if self.refiner else None,
            "watched": self.watched,
            "last": self.last_line,
        }
