"""Commands on jobs: submit, run in the foreground, list, wait, cancel, and the schema they are written in."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryobridge.schemas import wire
from cryobridge.schemas.errors import DeadlineExceeded
from cryobridge.schemas.requests import CancelJob, JobStanding, ListJobs, SubmitJob
from cryobridge.schemas.state import TERMINAL, JobState

from ..client import DaemonClient
from ..foreground import run_in_foreground
from ..interrupted import interrupted
from ..jobs_daemon import daemon_for_jobs, daemon_of, daemons_of_mine
from ..progress import shown_progress
from ..terminal import printable
from . import render
from .daemon import json_option

if TYPE_CHECKING:
    from cryobridge.schemas.envelope import Job

JOB_FILE = click.Path(path_type=Path)
CHECKPOINTS = ".*.safetensors"
"""What a job that can be gone on with leaves in its folder."""


@click.command()
@click.argument("job_file", type=JOB_FILE)
@click.option("--wait", "wait_too", is_flag=True, help="Wait until it is finished; exit 1 if it fails.")
@json_option
def submit(job_file: Path, wait_too: bool, as_json: bool) -> int:
    """Hand JOB_FILE (YAML or JSON) to the daemon; prints the job's id and nothing else."""
    from cryobridge.schemas.job import check_paths
    from cryobridge.schemas.jobfile import load_job

    job = load_job(job_file)
    check_paths(job)
    return hand_over(job.as_spec(), wait_too=wait_too, as_json=as_json)


def hand_over(spec: wire.Message, *, wait_too: bool, as_json: bool) -> int:
    """Submit a checked job, say its id, and wait for it if asked; return the exit code.

    Each submission is a request of its own, so that the daemon can tell it from others with the same files.
    """
    if spec["run"]["request_id"] is None:
        spec = {**spec, "run": {**spec["run"], "request_id": secrets.token_hex(8)}}
    with interrupted("'cryobridge jobs' says whether the daemon has taken the job"), daemon_for_jobs() as client:
        reply = client.request(SubmitJob(spec=spec))
        if as_json and not wait_too:
            render.as_json(reply)
        job_id = JobStanding.read(reply, "the reply to 'submit'").job_id
        if not as_json:
            click.echo(job_id)
        return _wait_for(client, job_id, None, as_json) if wait_too else wire.EXIT_OK


@click.command("run")
@click.argument("job_file", type=JOB_FILE)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Train with so many processes together, each on a GPU of its own where there are several.",
)
def run_job(job_file: Path, processes: int) -> int:
    """Run JOB_FILE here and now, with no daemon; the exit code says how it went."""
    from cryobridge.schemas.job import check_paths
    from cryobridge.schemas.jobfile import load_job

    job = load_job(job_file)
    check_paths(job)
    with given_again(job):
        code = run_in_foreground(job_file, processes)
    # Nothing was wrong with the command itself.
    return wire.EXIT_FAILED if code == wire.EXIT_USAGE else code


@contextmanager
def given_again(job: Job) -> Iterator[None]:
    """Say after Ctrl-C what the same command will do when it is given again.

    Raises
    ------
    Interrupted
        In the place of `KeyboardInterrupt`.
    """

    def words() -> str:
        from cryobridge.schemas.envelope import JOB_NAME

        if any(job.output.glob(CHECKPOINTS)):
            return f"the same command goes on where it was ({job.output})"
        begun = (job.output / JOB_NAME).exists()
        return f"the same command begins again{f' in {job.output}' if begun else ', nothing was written'}"

    with interrupted(words):
        yield


@click.command("jobs")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many, newest first.")
@click.option("--mine/--all", default=False, help="Your own only, or all that you may see (the default).")
@click.option("--state", type=click.Choice([state.value for state in JobState]), help="Only those in this state.")
@click.option("--kind", metavar="KIND", help="Only those of this kind, e.g. map.correct or relion.reconstruct.")
@json_option
def list_jobs(limit: int, mine: bool, state: str | None, kind: str | None, as_json: bool) -> None:
    """List jobs, newest first; root, the daemon's user and operators see everybody's."""
    asked = ListJobs(limit=limit, mine=mine, state=state, kind=kind)
    with daemons_of_mine() as clients:
        found = [job for client in clients for job in client.request(asked).get("jobs", [])]
    jobs = sorted(found, key=lambda job: job.get("created_at") or 0.0, reverse=True)[:limit]
    if as_json:
        render.as_json({"jobs": jobs})
        return
    columns = ("job_id", "kind", "state", "reason", "created_at", "output")
    rows = [
        [render.moment(job.get(column)) if column == "created_at" else job.get(column) for column in columns]
        for job in jobs
    ]
    empty = "no such jobs" if mine or state or kind else "no jobs yet"
    render.jobs_table([column.upper() for column in columns], rows, [job.get("uid") for job in jobs], empty)


@click.command()
@click.argument("job_ids", metavar="JOB_ID...", nargs=-1, required=True)
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0), help="Give up after this many seconds (exit 4).")
@json_option
def wait(job_ids: tuple[str, ...], timeout_s: float | None, as_json: bool) -> int:
    """Wait until jobs are finished: exit 0 if all succeeded, 1 if one did not, else 4 if one still runs."""
    if len(job_ids) > 1:
        return _wait_for_all(job_ids, timeout_s, as_json)
    with daemon_of(job_ids[0]) as client:
        return _wait_for(client, job_ids[0], timeout_s, as_json)


def _wait_for_all(job_ids: tuple[str, ...], timeout_s: float | None, as_json: bool) -> int:
    end = None if timeout_s is None else time.monotonic() + timeout_s
    codes, replies = [], []
    go_on = f"the jobs go on in the daemon: 'cryobridge wait {' '.join(job_ids)}'"
    for job_id in job_ids:
        left = None if end is None else max(0.0, end - time.monotonic())
        shown, report = shown_progress()
        try:
            with interrupted(go_on), daemon_of(job_id) as client, shown:
                reply = client.wait(job_id, left, on_progress=report)
        except DeadlineExceeded as error:
            codes.append(wire.EXIT_DEGRADED)
            replies.append({"job_id": job_id, "state": "unfinished", "text": str(error)})
        else:
            job = JobStanding.read(reply, "the reply to 'wait'")
            codes.append(wire.EXIT_OK if job.state == JobState.SUCCEEDED else wire.EXIT_FAILED)
            replies.append({**reply, "job_id": job_id})
        if not as_json:
            last = JobStanding.read(replies[-1], "the reply to 'wait'")
            click.echo(f"{job_id}: {last.state}{_reason(last)}", err=codes[-1] != wire.EXIT_OK)
    if as_json:
        render.as_json({"jobs": replies})
    return wire.EXIT_FAILED if wire.EXIT_FAILED in codes else max(codes)


def _wait_for(client: DaemonClient, job_id: str, timeout_s: float | None, as_json: bool) -> int:
    shown, report = shown_progress()
    go_on = f"job {job_id} goes on in the daemon: 'cryobridge wait {job_id}', 'cryobridge cancel {job_id}'"
    try:
        with interrupted(go_on), shown:
            reply = client.wait(job_id, timeout_s, on_progress=report)
    except DeadlineExceeded as error:
        click.echo(f"cryobridge: {error}", err=True)
        return wire.EXIT_DEGRADED
    job = JobStanding.read(reply, "the reply to 'wait'")
    succeeded = job.state == JobState.SUCCEEDED
    if as_json:
        render.as_json({"job_id": job_id, **reply})
    else:
        click.echo(f"{job.state}{_reason(job)}", err=not succeeded)
    return wire.EXIT_OK if succeeded else wire.EXIT_FAILED


def _reason(job: JobStanding) -> str:
    words = [printable(word) for word in (job.reason, job.text) if word]
    return f" ({': '.join(words)})" if words else ""


@click.command()
@click.argument("job_ids", nargs=-1, required=True)
@json_option
def cancel(job_ids: tuple[str, ...], as_json: bool) -> None:
    """Cancel jobs; one that is finished already stays as it is, and is said to be."""
    replies = {}
    for job_id in job_ids:
        with daemon_of(job_id) as client:
            replies[job_id] = client.request(CancelJob(job_id=job_id))
        if not as_json:
            job = JobStanding.read(replies[job_id], "the reply to 'cancel'")
            click.echo(f"{job_id}: {_cancelled(job.state)}")
    if as_json:
        render.as_json(replies)


def _cancelled(state: str) -> str:
    if state == JobState.CANCELLED:
        return "cancelled"
    return f"had {state} already" if state in TERMINAL else "stops at its next step"


@click.command()
def schema() -> None:
    """Print the JSON Schema of job files, for editors and other programs."""
    from cryobridge.schemas.job import job_json_schema

    render.as_json(job_json_schema())


COMMANDS = (submit, run_job, list_jobs, wait, cancel, schema)
