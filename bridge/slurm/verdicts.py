"""What is to be done about a job in SLURM, from what its worker wrote and what SLURM says: a function, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from cryobridge.schemas.codes import AnyCode, Code, code_of

from .spool import SpoolFiles
from .states import SlurmJob, Standing

FILES_LATE_S = {Standing.ENDED: 15.0}
"""So long after SLURM has said that a job ended its last files may still not be seen here, by how it ended."""
FILES_LATE_OTHERWISE_S = 2.0
STALE_S = 60.0
"""A worker that SLURM does not know is believed to live as long as it has beaten within this time."""


class Outcome(Enum):
    """What becomes of an attempt."""

    DONE = auto()
    FAILED = auto()
    CANCELLED = auto()
    LOST = auto()  # the queue hands the job over again, and counts
    AGAIN = auto()  # it was preempted: it begins again, and that does not count


@dataclass(frozen=True)
class Verdict:
    """An outcome, and its code and words where it needs them."""

    outcome: Outcome
    code: AnyCode = Code.WORKER_DIED
    text: str = ""


@dataclass(frozen=True)
class Seen:
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


def judge(seen: Seen) -> Verdict | None:
    """Decide; None as long as the job is to be followed."""
    files, standing = seen.files, seen.standing
    if files.result is not None:
        return Verdict(Outcome.DONE)
    if files.failure is not None:
        code = code_of(files.failure.code)
        return Verdict(Outcome.CANCELLED if code == Code.CANCELLED else Outcome.FAILED, code, files.failure.text)
    if standing is None or not standing.is_end:
        return None
    if standing is Standing.GONE and not seen.cancelling and min(seen.over_s, seen.silent_s) < STALE_S:
        return None
    if seen.over_s < FILES_LATE_S.get(standing, FILES_LATE_OTHERWISE_S):
        return None
    if seen.cancelling:
        return Verdict(Outcome.CANCELLED, Code.CANCELLED, "cancelled on request")
    return _without_files(standing, seen)


def _without_files(standing: Standing, seen: Seen) -> Verdict:
    """What is known of a job that has ended, and whose worker has not said how."""
    name = f"SLURM job {seen.number}"
    state, nodes = ("", "") if seen.job is None else (seen.job.state, seen.job.nodes)
    match standing:
        case Standing.CANCELLED:
            return Verdict(Outcome.CANCELLED, Code.CANCELLED, f"{name} was cancelled in SLURM")
        case Standing.PREEMPTED:
            return Verdict(Outcome.AGAIN, text=f"{name} was preempted; it is handed over again")
        case Standing.OUT_OF_TIME:
            return Verdict(
                Outcome.FAILED,
                Code.TIMEOUT,
                f"SLURM's time limit ended it ({name}); submitted again it goes on where it was, if its kind can; "
                "ask for more with run.slurm.time_h",
            )
        case Standing.OUT_OF_MEMORY:
            return Verdict(
                Outcome.FAILED, Code.OOM, f"SLURM ended it for its memory ({name}); ask for more: run.slurm.memory_GB"
            )
        case Standing.LOST:
            return Verdict(Outcome.LOST, text=f"{name} lost its node{f' {nodes}' if nodes else ''} ({state})")
        case Standing.GONE:
            return Verdict(Outcome.LOST, text=f"SLURM does not know {name} any more, and its worker shows no life")
    return Verdict(Outcome.LOST, text=f"{name} ended ({state}), and its worker has not said how")
