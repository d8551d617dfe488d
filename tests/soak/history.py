"""What happened, as plain records in the order in which it was noted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar


@dataclass(frozen=True)
class HookEnd:
    """One call of RELION came to its end.

    `made` is "standard", "corrected", "none" (no file) or "broken: why"; `said` is what RELION's log says of it;
    `wounded` is true where we killed the hook ourselves, `held_s` how long we had stopped it.
    """

    at_s: float
    refinement: str
    iteration: int
    attempt: int
    half: int
    status: int
    seconds: float
    made: str
    said: str
    wounded: bool = False
    held_s: float = 0.0


@dataclass(frozen=True)
class Acknowledged:
    """The daemon said that it has a job. `request` is the submitter's own name for it, or empty."""

    at_s: float
    job_id: str
    flavour: str
    output: str
    request: str = ""


@dataclass(frozen=True)
class JobEnd:
    """What became of an acknowledged job; `state` is that of the store, "lost" where the daemon knows it no more.

    `differing` names files that are not those of a clean run; `may_fail` says that it was meant to be refused.
    """

    at_s: float
    job_id: str
    state: str
    reason: str = ""
    text: str = ""
    attempts: int = 1
    differing: tuple[str, ...] = ()
    may_fail: bool = False
    cancel_asked: bool = False


@dataclass(frozen=True)
class Done:
    """A deed was done."""

    at_s: float
    until_s: float
    number: int
    deed: str
    outcome: str


@dataclass(frozen=True)
class Span:
    """From when until when something was kept from working by us: "daemon", "worker" or "room"."""

    what: str
    begin_s: float
    until_s: float


@dataclass(frozen=True)
class HealthAnswer:
    """An answer to `status`; `error` where none came."""

    at_s: float
    seconds: float
    error: str = ""
    degraded: bool = False


@dataclass(frozen=True)
class Level:
    """Memory and descriptors of one process at one time; `role` is "daemon" or "worker"."""

    at_s: float
    role: str
    pid: int
    rss_mb: float
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Steady:
    """What a process had when a round of the calm was over."""

    round: int
    level: Level


@dataclass(frozen=True)
class Ended:
    """A daemon's process is gone; `wanted` where that was our doing.

    `served` is false where it ended before it was ready; `words` are the last it said.
    """

    at_s: float
    pid: int
    wanted: bool
    words: str = ""
    served: bool = True


@dataclass(frozen=True)
class Check:
    """Something was looked at for one invariant, by name."""

    at_s: float
    invariant: str
    holds: bool
    text: str


Record = HookEnd | Acknowledged | JobEnd | Done | Span | HealthAnswer | Level | Steady | Ended | Check
R = TypeVar("R", bound=Record)


@dataclass
class History:
    """All records of a run; any thread may add some."""

    records: list[Record] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def add(self, record: Record) -> None:
        """Note one."""
        with self._lock:
            self.records.append(record)

    def check(self, invariant: str, holds: bool, text: str) -> None:
        """Note that something was looked at."""
        self.add(Check(self.now_s, invariant, holds, text))

    def all_of(self, kind: type[R]) -> list[R]:
        """The records of one kind, in their order."""
        with self._lock:
            return [record for record in self.records if isinstance(record, kind)]

    def was_kept(self, what: str, since_s: float) -> bool:
        """Whether something was kept from working at any time since `since_s`."""
        return any(span.what == what and span.until_s >= since_s for span in self.all_of(Span))

    @contextmanager
    def span(self, what: str, after_s: float = 0.0) -> Iterator[None]:
        """Note that something is kept from working, and for `after_s` more."""
        begin_s = self.now_s
        mark = Span(what, begin_s, float("inf"))
        self.add(mark)
        try:
            yield
        finally:
            with self._lock:
                self.records[self.records.index(mark)] = Span(what, begin_s, self.now_s + after_s)
