"""Tells a trial job that waits for its turn from one that nobody will run."""

from __future__ import annotations

from typing import Any

from cryobridge.schemas.requests import AskProcesses, AskStatus, CancelJob, JobStanding, Processes, WaitForJob
from cryobridge.schemas.state import TERMINAL, JobState

from ..client import DaemonClient

_IDLE_HALVES = frozenset(("ready", "done"))


class WaitsItsTurn(Exception):  # noqa: N818
    """The trial job was taken back, since the daemon is busy; the text says how it waited and for what."""


def take_back_if_waiting(client: DaemonClient, job_id: str) -> None:
    """Take a trial job back if all workers that could begin it are at work, or if it has given way to a call.

    Raises
    ------
    WaitsItsTurn
        If it was taken back.
    """
    state = JobStanding.read(client.request(WaitForJob(job_id=job_id, timeout_s=0.0)), "the reply to 'wait'").state
    if state == JobState.QUEUED:
        waits = _queued_behind(client, job_id)
    elif state == JobState.RUNNING:
        waits = _gave_way_to(client, job_id)
    else:
        return
    if waits is None:
        return
    client.request(CancelJob(job_id=job_id))
    ended = JobStanding.read(client.request(WaitForJob(job_id=job_id, timeout_s=0.0)), "the reply to 'wait'").state
    if ended != JobState.CANCELLED and ended in TERMINAL:
        return  # its turn came in the meantime
    raise WaitsItsTurn(waits)


def _queued_behind(client: DaemonClient, job_id: str) -> str | None:
    """What all workers are busy with; None if one of them could begin the job, or none is alive to."""
    workers = client.request(AskStatus()).get("workers") or []
    if not workers or not all(worker.get("state") == "ready" and _is_busy(worker) for worker in workers):
        return None
    running = [words for row in _others(client, job_id) if (words := _words(row))]
    return f"was queued behind {' and '.join(running) if running else 'work that is not yours'}"


def _gave_way_to(client: DaemonClient, job_id: str) -> str | None:
    """The calls for which the job's worker has stopped working on it; None if it works on nothing else."""
    workers = client.request(AskStatus()).get("workers") or []
    tasks = [[str(task) for task in worker.get("tasks") or []] for worker in workers]
    shared = any(len(some) > 1 and any(task.startswith(f"job-{job_id}-") for task in some) for some in tasks)
    calls = [words for row in _others(client, job_id) if row.get("session") and (words := _words(row))]
    return f"gave way to {' and '.join(calls)}" if shared and calls else None


def _others(client: DaemonClient, job_id: str) -> list[dict[str, Any]]:
    shown = Processes.read(client.request(AskProcesses()), "the reply to 'ps'")
    return [row for row in shown.processes if row.get("job_id") != job_id]


def _is_busy(worker: dict[str, Any]) -> bool:
    # Whether it is busy is said to all; an older daemon says to its own what with, and to others nothing.
    return bool(worker.get("busy", "task" not in worker or worker["task"] is not None))


def _words(row: dict[str, Any]) -> str:
    """A job that runs, or a call that is being computed; empty for what only waits."""
    if row.get("session"):
        halves = row.get("halves") or {}
        if halves and all(state in _IDLE_HALVES for state in halves.values()):
            return ""
        return f"iteration {row.get('iteration')} of {row['session']}"
    if row.get("state") != JobState.RUNNING:
        return ""
    told = (row.get("progress") or {}).get("text")
    return f"job {str(row.get('job_id'))[:12]} ({row.get('kind')}{f', {told}' if told else ''})"
