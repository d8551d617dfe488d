"""A job in the daemon's hands, followed from outside: a daemon that is away is waited for, and asked again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from cryobridge.schemas.errors import CryobridgeError, DaemonUnavailable
from cryobridge.schemas.state import JobState

from .daemon import Daemon, JobEnd
from .patience import Patience
from .said_once import SaidOnce
from .telling import Telling

SLICE_S = 2.0
"""So often a wait is left to look whether the job is still wanted."""


class JobFailed(CryobridgeError):  # noqa: N818
    """The daemon's job failed or was cancelled there."""


def follow(
    daemon: Daemon,
    spec: dict[str, Any],
    patience: Patience,
    telling: Telling,
    check: Callable[[], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Hand a job over, by its name only once however often this is called, and wait for its end.

    Parameters
    ----------
    check
        Called between two waits; raises where the job is not wanted any more.

    Raises
    ------
    JobFailed
        If it ended otherwise than with success.
    DaemonUnavailable
        If no daemon answers for longer than patience lasts.
    """
    away_since: float | None = None
    job_id: str | None = None
    trouble = SaidOnce("the daemon answers again")
    while True:
        check()
        try:
            if job_id is None:
                job_id = daemon.submit(spec)
                telling.progress("waits for a device")
            end = daemon.end_of(job_id, SLICE_S, telling.progress)
            away_since = None
            trouble.fine()
        except DaemonUnavailable as error:
            # It may come back with another memory; the name of the request finds the job, or makes it anew.
            job_id = None
            away_since = time.monotonic() if away_since is None else away_since
            if time.monotonic() - away_since > patience.daemon_s:
                raise
            trouble.warn(str(error))
            telling.progress("waits for the cryobridge daemon")
            sleep(patience.pause_s)
            continue
        telling.show_life()
        if end is not None:
            _judge(end)
            return


def _judge(end: JobEnd) -> None:
    if end.state != JobState.SUCCEEDED:
        raise JobFailed(end.text or f"the job {end.state} ({end.reason})")
