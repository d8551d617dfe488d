"""The command `logs`: a job's log, or the end of the daemon's own, and what is added to either."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import click

from cryobridge.schemas.errors import CryobridgeError, InputInvalid
from cryobridge.schemas.news import NewsEvent, Snapshot, What
from cryobridge.schemas.requests import AskStatus, JobStanding, LogLines, ReadLog, WaitForJob
from cryobridge.schemas.state import TERMINAL

from ..client import DaemonClient
from ..interrupted import interrupted
from ..jobs_daemon import daemon_of
from ..terminal import printable
from . import render
from .daemon import json_option

FILE_PAUSE_S = 1.0
NEWS_PAUSE_S = 5.0
LINES_SHOWN = 40


@click.command()
@click.argument("job_id", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the job is finished, or until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=1),
    default=LINES_SHOWN,
    show_default=True,
    help="So many, of the daemon's.",
)
@json_option
def logs(job_id: str | None, follow: bool, lines: int, as_json: bool) -> None:
    """Print the log of job JOB_ID, or the end of the daemon's own; JOB_ID may be the call in RELION's log."""
    if job_id is None:
        _daemon_log(follow, lines, as_json)
    elif follow and not as_json:
        with interrupted(f"job {job_id} goes on in the daemon: 'cryobridge logs -f {job_id}'"):
            _follow_job(job_id)
    else:
        with interrupted(""), daemon_of(job_id) as client:
            reply = client.request(ReadLog(job_id=job_id))
        if as_json:
            render.as_json(reply)
        else:
            _print_new(LogLines.read(reply, "the reply to 'logs'").lines, 0)


def _follow_job(job_id: str) -> None:
    """Print what is there, and more whenever the daemon tells that something has happened to the job."""
    printed = 0
    with daemon_of(job_id) as client, DaemonClient.connect({"CRYOBRIDGE_SOCKET": str(client.path)}) as follower:
        # Before the log is read, so that nothing happens unseen between the two.
        follower.follow()
        whole_id = job_id
        while True:
            _await_news(follower, whole_id)
            # How it stands before the log is read: of a job that is over, the log is then whole.
            job = JobStanding.read(client.request(WaitForJob(job_id=job_id, timeout_s=0.0)), "the reply to 'wait'")
            reply = client.request(ReadLog(job_id=job_id))
            printed = _print_new(LogLines.read(reply, "the reply to 'logs'").lines, printed)
            if job.state in TERMINAL:
                return
            whole_id = str(reply.get("job_id") or job_id)


def _await_news(follower: DaemonClient, job_id: str) -> None:
    """Wait until the job's log may have a new line."""
    while True:
        told = follower.news(NEWS_PAUSE_S)
        # Progress is noted in the log now and then, and told of as noted when it is.
        if isinstance(told, Snapshot) or (
            isinstance(told, NewsEvent) and told.name == job_id and told.what != What.JOB_PROGRESS
        ):
            return


def _print_new(lines: tuple[str, ...], printed: int) -> int:
    for line in lines[printed:]:
        click.echo(printable(line))
    return len(lines)


def _daemon_log(follow: bool, count: int, as_json: bool) -> None:
    from ..log_file import LOG_NAME, DaemonLog

    with contextlib.closing(DaemonLog(_state_folder() / LOG_NAME)) as log:
        lines = log.last(count)
        if as_json:
            render.as_json({"lines": lines})
            return
        with interrupted("the daemon goes on"):
            while True:
                for line in lines:
                    click.echo("\n".join(map(printable, line.split("\n"))))
                if not follow:
                    return
                time.sleep(FILE_PAUSE_S)
                lines = list(log.new_lines())


def _state_folder() -> Path:
    """Where the running daemon keeps its log; where it would, if none runs: then its log matters most.

    Raises
    ------
    InputInvalid
        If a daemon runs that does not say it to everybody.
    """
    try:
        with DaemonClient.connect() as client:
            folder = client.request(AskStatus()).get("state_dir")
    except CryobridgeError:
        from cryobridge.schemas.config import load

        return load(None).config.state_path()
    if not isinstance(folder, str):
        raise InputInvalid(
            "the daemon's log is for root, its user and its operators; 'cryobridge logs JOB' prints a job's of yours"
        )
    return Path(folder)


COMMANDS = (logs,)
