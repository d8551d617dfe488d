"""What SLURM says of a job, read from its programs' tables, and what that means for us."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

QUEUE_FORMAT = "%A|%T|%N|%j|%r"
"""squeue: number, state, nodes, name, reason. Names may hold anything, so the two texts come last."""
ACCOUNTING_FORMAT = "JobIDRaw,State,NodeList,JobName"
_QUEUE_FIELDS, _ACCOUNTING_FIELDS = 5, 4
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_SUBMITTED = re.compile(r"([1-9][0-9]{0,18})(;[^\s;]+)?")


class Standing(Enum):
    """Where a job is, as far as it matters to us."""

    WAITS = auto()
    RUNS = auto()
    ENDED = auto()  # its worker has written what became of it, or never will
    LOST = auto()  # its node is gone, or it could not begin there
    PREEMPTED = auto()  # to make room for others; it may begin again
    CANCELLED = auto()
    OUT_OF_TIME = auto()
    OUT_OF_MEMORY = auto()
    GONE = auto()  # SLURM does not know it, any more or at all

    @property
    def is_end(self) -> bool:
        """Whether nothing of the job runs, or will."""
        return self not in (Standing.WAITS, Standing.RUNS)


STANDINGS: Mapping[str, Standing] = MappingProxyType(
    {
        "PENDING": Standing.WAITS,
        "CONFIGURING": Standing.WAITS,
        "REQUEUED": Standing.WAITS,
        "REQUEUE_FED": Standing.WAITS,
        "REQUEUE_HOLD": Standing.WAITS,
        "RESV_DEL_HOLD": Standing.WAITS,
        "SPECIAL_EXIT": Standing.WAITS,
        "POWER_UP_NODE": Standing.WAITS,
        "RUNNING": Standing.RUNS,
        "COMPLETING": Standing.RUNS,
        "SUSPENDED": Standing.RUNS,
        "STOPPED": Standing.RUNS,
        "SIGNALING": Standing.RUNS,
        "RESIZING": Standing.RUNS,
        "STAGE_OUT": Standing.RUNS,
        "COMPLETED": Standing.ENDED,
        "FAILED": Standing.ENDED,
        "BOOT_FAIL": Standing.LOST,
        "NODE_FAIL": Standing.LOST,
        "LAUNCH_FAILED": Standing.LOST,
        "RECONFIG_FAIL": Standing.LOST,
        "REVOKED": Standing.LOST,
        "PREEMPTED": Standing.PREEMPTED,
        "CANCELLED": Standing.CANCELLED,
        "TIMEOUT": Standing.OUT_OF_TIME,
        "DEADLINE": Standing.OUT_OF_TIME,
        "OUT_OF_MEMORY": Standing.OUT_OF_MEMORY,
    }
)
"""Every state of SLURM's manual. One that is not here is of a newer SLURM: the job is taken to run."""


@dataclass(frozen=True)
class SlurmJob:
    """A line of SLURM's about a job: its number, its state in SLURM's word, on which nodes, its name, and why."""

    number: int
    state: str
    nodes: str
    name: str
    reason: str = ""

    @property
    def standing(self) -> Standing:
        """What the state means."""
        return STANDINGS.get(self.state, Standing.RUNS)


def read_queue(text: str) -> dict[int, SlurmJob]:
    """The jobs in an answer of squeue in `QUEUE_FORMAT`, by number; lines that are none of its are passed over."""
    jobs = {}
    for line in text.splitlines():
        number, *rest = line.split("|")
        if len(rest) < _QUEUE_FIELDS - 1 or not _NUMBER.fullmatch(number):
            continue
        state, nodes, *name, reason = rest
        jobs[int(number)] = SlurmJob(int(number), _word(state), nodes, "|".join(name), _said(reason))
    return jobs


def read_accounting(text: str) -> dict[int, SlurmJob]:
    """The jobs in an answer of sacct in `ACCOUNTING_FORMAT`, by number; steps and other lines are passed over."""
    jobs = {}
    for line in text.splitlines():
        number, *rest = line.split("|")
        if len(rest) < _ACCOUNTING_FIELDS - 1 or not _NUMBER.fullmatch(number):
            continue
        state, nodes, *name = rest
        jobs[int(number)] = SlurmJob(int(number), _word(state), nodes, "|".join(name))
    return jobs


def read_submitted(text: str) -> int | None:
    """The number in what `sbatch --parsable` has printed, behind whatever a cluster's own plugins say before."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = _SUBMITTED.fullmatch(lines[-1]) if lines else None
    return int(found[1]) if found else None


def _word(state: str) -> str:
    """`CANCELLED by 1000` and `CANCELLED+` are both CANCELLED."""
    return (state.split() or [""])[0].rstrip("+")


def _said(reason: str) -> str:
    return "" if reason.strip() in ("", "None") else reason.strip()
