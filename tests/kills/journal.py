"""What clients saw and what was done to them: plain records with times, one JSON object a line."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar


@dataclass(frozen=True)
class Killed:
    """A process was sent SIGKILL; `target` is "daemon", "daemon as it starts" or "worker"."""

    at_s: float
    number: int
    target: str
    pid: int


@dataclass(frozen=True)
class Ready:
    """From a kill until the daemon greeted as "ready", or `what` = "worker": until a new worker was ready.

    `cpu_s` is what the new daemon had computed by then, `load` the machine's load average of a minute.
    """

    at_s: float
    kill: int
    what: str
    seconds: float
    cpu_s: float
    load: float


@dataclass(frozen=True)
class NotReady:
    """The daemon did not greet as "ready" within the time that was waited."""

    at_s: float
    kill: int
    seconds: float


@dataclass(frozen=True)
class Asked:
    """A client begins to hand a job over; `request` is its own name for it, or empty."""

    at_s: float
    key: str
    request: str
    output: str
    flavour: str
    priority: str


@dataclass(frozen=True)
class Taken:
    """The daemon said that it has a job. One `key` may be taken often: the client asks again by its request's name."""

    at_s: float
    key: str
    job_id: str


@dataclass(frozen=True)
class CancelAsked:
    """A client begins to ask for a job's end."""

    at_s: float
    job_id: str


@dataclass(frozen=True)
class JobOver:
    """A client was told a job's end; `differing` names files that are not those of a clean run."""

    at_s: float
    job_id: str
    state: str
    reason: str
    attempts: int
    differing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Called:
    """RELION begins a call."""

    at_s: float
    refinement: str
    iteration: int
    half: int


@dataclass(frozen=True)
class CallOver:
    """A call came to its end.

    `made` is "standard", "corrected", "none" or "broken: why"; `said` the line of RELION's log that says which; `maps`
    how many maps of this call lie in the job folder, whatever they are named.
    """

    at_s: float
    refinement: str
    iteration: int
    half: int
    status: int
    seconds: float
    made: str
    said: str
    maps: int


KINDS = {
    kind.__name__: kind for kind in (Killed, Ready, NotReady, Asked, Taken, CancelAsked, JobOver, Called, CallOver)
}
Entry = Killed | Ready | NotReady | Asked | Taken | CancelAsked | JobOver | Called | CallOver
E = TypeVar("E", bound=Entry)


class Journal:
    """Notes entries as they come, in a file and in memory; any thread may."""

    def __init__(self, path: Path) -> None:
        self.entries: list[Entry] = []
        self._file = path.open("w")
        self._lock = threading.Lock()
        self._began = time.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds since the journal was opened."""
        return round(time.monotonic() - self._began, 4)

    def add(self, entry: Entry) -> None:
        """Note one."""
        line = json.dumps({"entry": type(entry).__name__, **dataclasses.asdict(entry)})
        with self._lock:
            self.entries.append(entry)
            self._file.write(f"{line}\n")

    def close(self) -> None:
        """Have everything on the disk."""
        self._file.close()


def read(lines: Iterable[str]) -> list[Entry]:
    """The entries of a file that a journal wrote."""
    found: list[Entry] = []
    for line in lines:
        values = json.loads(line)
        kind = KINDS[values.pop("entry")]
        if "differing" in values:
            values["differing"] = tuple(values["differing"])
        found.append(kind(**values))
    return found


def of(entries: Sequence[Entry], kind: type[E]) -> list[E]:
    """The entries of one kind, in their order."""
    return [entry for entry in entries if isinstance(entry, kind)]
