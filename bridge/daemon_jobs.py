"""Jobs at the daemon for a program that outlives daemons: each call has a connection of its own."""

from __future__ import annotations

import os
from typing import Any

from cryobridge.schemas.errors import DeadlineExceeded, JobRejected
from cryobridge.schemas.requests import CancelJob, JobStanding, SubmitJob
from cryobridge.wrappers.cryosparc.daemon import JobEnd, OnProgress

from .client import DaemonClient
from .users import user_name


class DaemonJobs:
    """The daemon that answers now, whichever it is (`wrappers.cryosparc.daemon.JobDaemon`)."""

    def submit(self, spec: dict[str, Any]) -> str:
        """Hand a job over, or find it again by its `run.request_id`; its id.

        Raises
        ------
        JobRejected
            If the daemon is another user's: it could not read what is private to this one, and its results would be
            its own user's alone.
        """
        with DaemonClient.connect() as client:
            if client.uid != os.getuid():
                raise JobRejected(
                    f"the daemon at {client.path} is {user_name(client.uid)}'s, and this runs as "
                    f"{user_name(os.getuid())}: neither can read the other's files; run both as the same user, or set "
                    "CRYOBRIDGE_SOCKET to a daemon of this one"
                )
            return JobStanding.read(client.request(SubmitJob(spec=spec)), "the reply to 'submit'").job_id

    def end_of(self, job_id: str, timeout_s: float, on_progress: OnProgress) -> JobEnd | None:
        """Wait for the end of a job; None where it has not ended in time."""
        with DaemonClient.connect() as client:
            try:
                reply = client.wait(job_id, timeout_s, on_progress=on_progress)
            except DeadlineExceeded:
                return None
        job = JobStanding.read(reply, "the reply to 'wait'")
        return JobEnd(str(job.state), job.reason or "", job.text or "")

    def cancel(self, job_id: str) -> None:
        """Stop a job; one that has ended stays as it is."""
        with DaemonClient.connect() as client:
            client.request(CancelJob(job_id=job_id))
