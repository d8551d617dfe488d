"""The daemon as the bridge to CryoSPARC sees it; `bridge.daemon_jobs` brings the connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

OnProgress = Callable[[str, float | None], None]


@dataclass(frozen=True)
class JobEnd:
    """How a job ended: `succeeded`, `failed` or `cancelled`, a code, and a sentence."""

    state: str
    reason: str
    text: str


class JobDaemon(Protocol):
    """A daemon on this machine. Every call may raise `DaemonUnavailable`, and can then be made again."""

    def submit(self, spec: dict[str, Any]) -> str:
        """Hand a job over, or find it again by its `run.request_id`; its id."""

    def end_of(self, job_id: str, timeout_s: float, on_progress: OnProgress) -> JobEnd | None:
        """Wait for the end of a job; None where it has not ended in time."""

    def cancel(self, job_id: str) -> None:
        """Stop a job; one that has ended stays as it is."""
