"""The states of a job and the transitions between them, written once.

`bridge.queue.store` enforces the same table in Python and in SQL. Abort is a flag beside the state, and the
reason for a state is a short code beside it (`timeout`, `oom`, `worker_died`, ...).
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"  # stored and acknowledged, waiting for a worker
    RUNNING = "running"  # a worker has it
    INTERRUPTED = "interrupted"  # the daemon or its worker ended meanwhile; to be queued again
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})

TRANSITIONS: MappingProxyType[JobState, frozenset[JobState]] = MappingProxyType(
    {
        JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED}),
        JobState.RUNNING: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED}),
        JobState.INTERRUPTED: frozenset({JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}),
        JobState.SUCCEEDED: frozenset(),
        JobState.FAILED: frozenset(),
        JobState.CANCELLED: frozenset(),
    }
)

MAX_ATTEMPTS = 3
"""How often a job is started before an interruption counts as its failure; one by an orderly stop is not counted."""
MAX_STALLED_ATTEMPTS = 2
"""A job whose step hangs would hang again: it has one more try, so that it cannot hold up refinements for ever."""


def may_become(now: JobState, then: JobState) -> bool:
    """Whether a job in state `now` may go to state `then`."""
    return then in TRANSITIONS[now]
