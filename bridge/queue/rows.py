"""Rows of the job database as values, and what makes a row unreadable."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryobridge.schemas.state import JobState

COLUMNS = (
    "id, number, kind, uid, priority, state, reason, text, spec, result, attempts, abort_requested, "
    "created_at, started_at, finished_at"
)


@dataclass(frozen=True)
class StoredJob:
    """One job as it is on disk."""

    id: str
    number: int
    kind: str
    uid: int
    priority: int
    state: JobState
    reason: str | None
    text: str
    spec: dict[str, Any]
    result: dict[str, Any] | None
    attempts: int
    abort_requested: bool
    created_at: float
    started_at: float | None
    finished_at: float | None

    @property
    def in_slurm(self) -> bool:
        """Whether it is done by a cluster's SLURM, and so goes on without the daemon."""
        run = self.spec.get("run")
        return isinstance(run, dict) and run.get("executor") == "slurm"


@dataclass(frozen=True)
class Event:
    """Something that happened to a job."""

    at: float
    type: str
    text: str


def job_of(row: Sequence[Any]) -> StoredJob:
    """The job in a row of `COLUMNS`.

    Raises
    ------
    ValueError, TypeError
        If its state is none, or its spec or result is no JSON object.
    """
    values = dict(zip(COLUMNS.split(", "), row, strict=True))
    return StoredJob(
        **{
            **values,
            "state": JobState(values["state"]),
            "spec": _object(values["spec"]),
            "result": None if values["result"] is None else _object(values["result"]),
            "abort_requested": bool(values["abort_requested"]),
        }
    )


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise TypeError("not a JSON object")
    return value
