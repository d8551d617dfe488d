"""Jobs at the daemon for a program that outlives daemons: each call has a connection of its own."""

from __future__ import annotations

from typing import Any

from cryobridge.schemas.errors import DeadlineExceeded
from cryobridge.schemas.requests import CancelJob, JobStanding, SubmitJob
from cryobridge.wrappers.cryosparc.daemon import JobEnd, OnProgress

from .jobs_daemon import daemon_for_jobs, daemon_of


class DaemonJobs:
    """The daemon that answers now, whichever it is (`wrappers.cryosparc.daemon.JobDaemon`)."""

    def submit(self, spec: dict[str, Any]) -> str:
        """Hand a job over, or find it again by its `run.request_id`; its id.

        Raises
        ------
        CryobridgeError
            If there is no daemon, or it does not take the job.
        """
        with daemon_for_jobs() as client:
            return JobStanding.read(client.request(SubmitJob(spec=spec)), "the reply to 'submit'").job_id

    def end_of(self, job_id: str, timeout_s: float, on_progress: OnProgress) -> JobEnd | None:
        """Wait for the end of a job; None where it has not ended in time."""
        with daemon_of(job_id) as client:
            try:
                reply = client.wait(job_id, timeout_s, on_progress=on_progress)
            except DeadlineExceeded:
                return None
        job = JobStanding.read(reply, "the reply to 'wait'")
        return JobEnd(str(job.state), job.reason or "", job.text or "")

    def cancel(self, job_id: str) -> None:
        """Stop a job; one that has ended stays as it is."""
        with daemon_of(job_id) as client:
            client.request(CancelJob(job_id=job_id))
