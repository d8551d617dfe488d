"""Which iteration of which user's refinement a call belongs to."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryobridge.schemas.messages import IterationName


@dataclass(frozen=True)
class CallKey:
    """What the halves of one iteration have in common; of one user."""

    uid: int
    job_dir: str
    root: str
    iteration: int
    kind: str
    number: int

    @classmethod
    def of(cls, name: IterationName, uid: int) -> CallKey:
        """The key of a call that user `uid` makes."""
        return cls(uid, name.job_dir, name.root, name.iteration, name.kind, name.number)

    @property
    def session(self) -> str:
        """The refinement, as workers name it."""
        return session_name(self.uid, f"{self.job_dir.rstrip('/')}/{self.root}")

    @property
    def label(self) -> str:
        """For people: run_it010_class001."""
        return f"{self.root}_it{self.iteration:03d}_{self.kind}{self.number:03d}"


def session_name(uid: int, name: str) -> str:
    """A refinement's name for workers; users do not share refinements, whatever paths they claim."""
    return name if uid == os.getuid() else f"{uid}:{name}"


def duplicate(fds: list[int]) -> list[int]:
    """Copies of descriptors, for a frame that goes out twice.

    Raises
    ------
    OSError
        If no descriptor is free; none is left open then.
    """
    copies: list[int] = []
    try:
        copies.extend(os.dup(fd) for fd in fds)
    except OSError:
        for fd in copies:
            os.close(fd)
        raise
    return copies
