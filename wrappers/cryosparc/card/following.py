"""A job in the daemon's hands, followed from outside: a daemon that is away is waited for, and asked again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from cryobridge.schemas.errors import CryobridgeError, DaemonUnavailable, InputInvalid
from cryobridge.schemas.state import JobState

from ..daemon import JobDaemon, JobEnd
from ..patience import CardPatience
from ..said_once import SaidOnce
from .telling import Telling

log = logging.getLogger(__name__)
SLICE_S = 2.0
"""So often a wait is left to look whether the job is still wanted."""
_MOST_FORGOTTEN = 20
"""A daemon that forgets the job again and again is not handed it for ever."""


class JobFailed(CryobridgeError):  # noqa: N818
    """The daemon's job failed or was cancelled there."""


def follow(
    daemon: JobDaemon,
    spec: dict[str, Any],
    patience: CardPatience,
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
    InputInvalid
        If the daemon does not take the job, or forgets it again and again.
    """
    away_since: float | None = None
    job_id: str | None = None
    trouble = SaidOnce("the daemon answers again")
    forgotten = 0
    while True:
        check()
        try:
            if job_id is None:
                job_id = daemon.submit(spec)
                telling.progress("waits for a device")
            away_since = None
            end = daemon.end_of(job_id, SLICE_S, telling.progress)
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
        except InputInvalid as error:
            forgotten += 1
            if job_id is None or forgotten > _MOST_FORGOTTEN:
                raise
            # Another daemon answers by now, which does not know the job; it is handed over by the same name.
            log.warning("%s; handed over again", error)
            job_id = None
            sleep(patience.pause_s)
            continue
        telling.show_life()
        if end is not None:
            _judge(end)
            return


def _judge(end: JobEnd) -> None:
    if end.state != JobState.SUCCEEDED:
        raise JobFailed(end.text or f"the job {end.state} ({end.reason})")
