"""A refinement between its calls, and the program behind its hooks, so that a warm state can end with that.

The hook, which may always see its own user's processes, hands RELION over as a pidfd. Where it cannot (an older kernel,
an older hook), the program is looked for among the hook's ancestors: RELION starts it through a shell, so it is a
grandparent of the process on the socket. A service that may not see processes of other users finds none there.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

_NAMES = ("relion_refine",)
_MAX_GENERATIONS = 8


class RefinementProgram(Protocol):
    """The program of a refinement, as somebody who cannot end it sees it."""

    @property
    def pid(self) -> int | None:
        """Its number, where that can be told."""

    def alive(self) -> bool:
        """Whether it still runs."""

    def close(self) -> None:
        """Let it go; nothing is asked of it afterwards."""


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

    def close(self) -> None:
        """Nothing is held."""


class HeldProgram:
    """A process by a pidfd of its own, which its user's hook handed over: seen to end whatever else may be seen of it.

    Attributes
    ----------
    pid
        Its number here; None if it has none, as that of another container.
    """

    def __init__(self, fd: int, pid: int | None) -> None:
        self._fd = fd
        self.pid = pid

    @classmethod
    def of(cls, fd: int | None) -> HeldProgram | None:
        """Hold a copy of `fd`, which stays the caller's; None where it is no pidfd, or none came.

        Nothing but a pidfd is ever asked whether it has ended: to ask a file may take as long as its server likes.
        """
        pid = None if fd is None else _process_of(fd)
        if fd is None or pid is None:
            return None
        try:
            return cls(os.dup(fd), pid if pid > 0 else None)
        except OSError:
            return None

    def alive(self) -> bool:
        """Whether it still runs; one whose parent has not asked for its end has ended."""
        if self._fd < 0:
            return False
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Let it go."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _process_of(fd: int) -> int | None:
    """What the kernel says of a pidfd: its process, 0 or less if that has no number here; None if it is no pidfd."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/self/fdinfo/{fd}").read_bytes().splitlines():
            if line.startswith(b"Pid:"):
                return int(line.split()[1])
    return None


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
    refiner: RefinementProgram | None = None
    ended: float | None = None
    last_line: str = ""
    watched: bool = False

    def note_program(self, handed_over: RefinementProgram | None, find: Callable[[], RefinementProgram | None]) -> None:
        """Take the program of a call, unless the one that is known still runs; what is not kept is let go."""
        if self.refiner is not None and self.refiner.alive():
            if handed_over is not None:
                handed_over.close()
            return
        self.let_go()
        self.refiner = handed_over or find()

    def let_go(self) -> None:
        """Hold its program no longer."""
        if self.refiner is not None:
            self.refiner.close()
            self.refiner = None

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
