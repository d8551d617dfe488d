"""The refinement program behind a hook: its process, so that a warm state can end with it.

RELION starts the hook through a shell, so the program is a grandparent of the process on the socket.
"""

from __future__ import annotations

from dataclasses import dataclass

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
