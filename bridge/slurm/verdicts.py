"""What is to be done about a job in SLURM, from what its worker wrote and what SLURM says: a function, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from cryobridge.schemas.codes import AnyCode, Code, code_of

from .spool import SpoolFiles
from .states import SlurmJob, Standing

FILES_LATE_S = {Standing.ENDED: 15.0}
"""So long after SLURM has said that a job ended its last files may still not be seen here, by how it ended."""
FILES_LATE_OTHERWISE_S = 2.0
STALE_S = 60.0
"""A worker that SLURM does not know is believed to live as long as it has beaten within this time."""


class AttemptEnd(Enum):
    """What becomes of an attempt."""

    DONE = auto()
    FAILED = auto()
    CANCELLED = auto()
    LOST = auto()  # the queue hands the job over again, and counts
    AGAIN = auto()  # it was preempted: it begins again, and that does not count


@dataclass(frozen=True)
class Ruling:
    """An outcome, and what it needs: code and words, or the result."""

    outcome: AttemptEnd
    code: AnyCode = Code.WORKER_DIED
    text: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SeenAttempt:
    """All that is known of an attempt.

    Attributes
    ----------
    files
        What the worker has written.
    number
        In SLURM.
    job
        SLURM's last word on it; None where SLURM has not been asked, or does not know it.
    gone
        Whether SLURM, asked after it was submitted, does not know it.
    over_s
        For how many seconds SLURM has said that it ended, or not known it.
    silent_s
        For how many seconds nothing of the worker was heard.
    cancelling
        Whether it was asked to stop.
    """

    files: SpoolFiles
    number: int
    job: SlurmJob | None = None
    gone: bool = False
    over_s: float = 0.0
    silent_s: float = 0.0
    cancelling: bool = False

    @property
    def standing(self) -> Standing | None:
        """Where the job is; None where nobody knows."""
        return Standing.GONE if self.gone else None if self.job is None else self.job.standing


def judge(seen: SeenAttempt) -> Ruling | None:
    """Decide; None as long as the job is to be followed."""
    files, standing = seen.files, seen.standing
    if files.result is not None:
        return Ruling(AttemptEnd.DONE, result=files.result)
    if files.failure is not None:
        code = code_of(files.failure.code)
        return Ruling(AttemptEnd.CANCELLED if code == Code.CANCELLED else AttemptEnd.FAILED, code, files.failure.text)
    if standing is None or not standing.is_end:
        return None
    if standing is Standing.GONE and not seen.cancelling and min(seen.over_s, seen.silent_s) < STALE_S:
        return None
    if seen.over_s < FILES_LATE_S.get(standing, FILES_LATE_OTHERWISE_S):
        return None
    if seen.cancelling:
        return Ruling(AttemptEnd.CANCELLED, Code.CANCELLED, "cancelled on request")
    return _without_files(standing, seen)


def _without_files(standing: Standing, seen: SeenAttempt) -> Ruling:
    """What is known of a job that has ended, and whose worker has not said how."""
    name = f"SLURM job {seen.number}"
    state, nodes = ("", "") if seen.job is None else (seen.job.state, seen.job.nodes)
    match standing:
        case Standing.CANCELLED:
            return Ruling(AttemptEnd.CANCELLED, Code.CANCELLED, f"{name} was cancelled in SLURM")
        case Standing.PREEMPTED:
            return Ruling(AttemptEnd.AGAIN, text=f"{name} was preempted; it is handed over again")
        case Standing.OUT_OF_TIME:
            return Ruling(
                AttemptEnd.FAILED,
                Code.TIMEOUT,
                f"SLURM's time limit ended it ({name}); submitted again it goes on where it was, if its kind can; "
                "ask for more with run.slurm.time_h",
            )
        case Standing.OUT_OF_MEMORY:
            return Ruling(
                AttemptEnd.FAILED,
                Code.OOM,
                f"SLURM ended it for its memory ({name}); ask for more: run.slurm.memory_GB",
            )
        case Standing.LOST:
            return Ruling(AttemptEnd.LOST, text=f"{name} lost its node{f' {nodes}' if nodes else ''} ({state})")
        case Standing.GONE:
            return Ruling(AttemptEnd.LOST, text=f"SLURM does not know {name} any more, and its worker shows no life")
    return Ruling(AttemptEnd.LOST, text=f"{name} ended ({state}), and its worker has not said how")
