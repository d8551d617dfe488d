"""Tells a trial job that waits for its turn from one that nobody will run."""

from __future__ import annotations

from typing import Any

from cryobridge.schemas.requests import AskProcesses, AskStatus, CancelJob, JobStanding, Processes, WaitForJob
from cryobridge.schemas.state import TERMINAL, JobState

from ..client import DaemonClient

_IDLE_HALVES = frozenset(("ready", "done"))


class WaitsItsTurn(Exception):  # noqa: N818
    """The trial job was taken back, since the daemon is busy; `behind` says with what."""

    def __init__(self, behind: str) -> None:
        super().__init__(behind)
        self.behind = behind


def take_back_if_queued(client: DaemonClient, job_id: str) -> None:
    """Take a trial job back if it has not begun and all workers that could begin it are at work.

    Raises
    ------
    WaitsItsTurn
        If it was taken back.
    """
    state = JobStanding.read(client.request(WaitForJob(job_id=job_id, timeout_s=0.0)), "the reply to 'wait'").state
    if state != JobState.QUEUED:
        return
    behind = _behind(client, job_id)
    if behind is None:
        return
    client.request(CancelJob(job_id=job_id))
    ended = JobStanding.read(client.request(WaitForJob(job_id=job_id, timeout_s=0.0)), "the reply to 'wait'").state
    if ended != JobState.CANCELLED and ended in TERMINAL:
        return  # its turn came in the meantime
    raise WaitsItsTurn(behind)


def _behind(client: DaemonClient, job_id: str) -> str | None:
    """What the workers are busy with; None if one of them could begin the job, or none is alive to."""
    workers = client.request(AskStatus()).get("workers") or []
    if not workers or not all(worker.get("state") == "ready" and _is_busy(worker) for worker in workers):
        return None
    shown = Processes.read(client.request(AskProcesses()), "the reply to 'ps'")
    running = [words for row in shown.processes if row.get("job_id") != job_id and (words := _words(row))]
    return " and ".join(running) if running else "work that is not yours"


def _is_busy(worker: dict[str, Any]) -> bool:
    # What is another user's is not shown: a worker without the field may be busy.
    return "task" not in worker or worker["task"] is not None


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
