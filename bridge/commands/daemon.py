"""Commands that start, ask and stop the daemon."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import click

from cryobridge.schemas import wire
from cryobridge.schemas.errors import DaemonUnavailable
from cryobridge.schemas.requests import (
    AskProcesses,
    AskStatus,
    DrainDaemon,
    Processes,
    ResumeDaemon,
    StopDaemon,
)

from ..client import DaemonClient, degradations
from ..interrupted import interrupted
from ..jobs_daemon import daemons_of_mine
from ..terminal import printable
from ..users import user_name
from . import render

PASS_THROUGH = {"ignore_unknown_options": True, "help_option_names": []}
STOP_WAIT_S = 90.0

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def exec_module(module: str, arguments: tuple[str, ...]) -> None:
    """Become `python -m module arguments`; isolated, so that a PYTHONPATH of a module system has no say."""
    os.execv(sys.executable, [sys.executable, "-I", "-m", module, *arguments])  # noqa: S606 - no shell is wanted


@click.command(context_settings=PASS_THROUGH)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(arguments: tuple[str, ...]) -> None:
    """Run the daemon in the foreground ('cryobridge serve --help' lists its options)."""
    exec_module("cryobridge.bridge.daemon", arguments)


@click.command()
@json_option
def status(as_json: bool) -> int:
    """Say how the daemon is: ready (exit 0), not running (3), degraded or draining (4)."""
    try:
        with daemons_of_mine() as clients:
            *beside, reply = [client.request(AskStatus()) for client in clients]
    except DaemonUnavailable as error:
        if as_json:
            render.as_json({"state": "not running", "text": str(error)})
            return wire.EXIT_NO_DAEMON
        raise
    own = [f"your own daemon for jobs: {problem}" for one in beside for problem in degradations(one)]
    problems = [*degradations(reply), *own]
    if as_json:
        render.as_json({**reply, "problems": problems, **({"own": beside[0]} if beside else {})})
    else:
        _print_status(reply, problems)
    return wire.EXIT_DEGRADED if problems else wire.EXIT_OK


def _print_status(reply: dict[str, Any], problems: list[str]) -> None:
    render.pairs(
        {
            "state": reply.get("state"),
            "version": reply.get("version"),
            "up": render.duration(reply.get("uptime_s")),
            # Not told to everybody.
            **{key: reply[key] for key in ("pid", "socket") if key in reply},
            "jobs": ", ".join(f"{name} {count}" for name, count in (reply.get("queue") or {}).items()),
            "refinements": len(reply.get("sessions") or []),
            "last fallback": _fallback(reply.get("last_fallback")),
        }
    )
    for worker in reply.get("workers") or []:
        doing = worker.get("task") or ("busy" if worker.get("busy") else None)
        parts = [worker.get("state"), worker.get("device_name"), doing, worker.get("last_error")]
        if worker.get("rss_bytes"):
            parts.append(render.size(worker["rss_bytes"]))
        click.echo(f"worker {worker.get('device')}: {', '.join(printable(part) for part in parts if part)}")
    for lease in reply.get("leases") or []:
        whose = f"{lease.get('kind')} of {user_name(lease['uid'])}"
        since = render.moment(lease.get("since"))
        click.echo(
            f"lent: {lease.get('device') or 'no device yet'}: {printable(whose)}, {lease.get('state')} since {since}"
        )
    for problem in problems:
        click.echo(f"problem: {printable(problem)}")


def _fallback(fallback: dict[str, Any] | None) -> str:
    if not fallback:
        return "none"
    where = f"{fallback.get('session')}, iteration {fallback.get('iteration')}"
    return f"{render.moment(fallback.get('at'))} {where}: {fallback.get('line')}"


@click.command()
@json_option
def ps(as_json: bool) -> None:
    """List what runs or waits now, and the refinements that are kept warm."""
    with daemons_of_mine() as clients:
        replies = [client.request(AskProcesses()) for client in clients]
    if as_json and len(replies) == 1:
        render.as_json(replies[0])
        return
    parts = [Processes.read(reply, "the reply to 'ps'") for reply in replies]
    shown = Processes(
        processes=tuple(row for part in parts for row in part.processes),
        sessions=tuple(row for part in parts for row in part.sessions),
    )
    if as_json:
        render.as_json(shown.as_values())
        return
    rows, uids = [_running_row(row) for row in shown.processes], [row.get("uid") for row in shown.processes]
    render.jobs_table(["JOB", "KIND", "STATE", "WHAT"], rows, uids, "nothing runs")
    if shown.sessions:
        click.echo()
        warm = ("session", "iteration", "corrected", "standard", "failed", "last")
        rows = [[*(row.get(column) for column in warm), render.duration(row.get("idle_s"))] for row in shown.sessions]
        render.table([*(column.upper() for column in warm), "IDLE"], rows, "")


def _running_row(row: dict[str, Any]) -> list[object]:
    progress = row.get("progress") or {}
    what = progress.get("text")
    if row.get("session"):
        halves = ", ".join(f"half {half} {state}" for half, state in (row.get("halves") or {}).items())
        what = f"{row['session']} iteration {row.get('iteration')}: {halves}"
    return [row.get("job_id"), row.get("kind"), row.get("state"), what]


@click.command()
@json_option
def drain(as_json: bool) -> None:
    """Let the daemon finish what runs and take nothing new; RELION's calls get the standard map meanwhile."""
    with DaemonClient.connect() as client:
        reply = client.request(DrainDaemon())
    if as_json:
        render.as_json(reply)
    else:
        click.echo(
            "draining: what runs is finished, no calls are taken, jobs wait; 'cryobridge resume' ends it, "
            "'cryobridge stop' ends the daemon"
        )


@click.command()
@json_option
def resume(as_json: bool) -> None:
    """Let the daemon take calls again after a drain."""
    with DaemonClient.connect() as client:
        reply = client.request(ResumeDaemon())
    if as_json:
        render.as_json(reply)
    else:
        click.echo("calls are taken again")


@click.command()
@click.option("--no-wait", is_flag=True, help="Return at once, not when the daemon is gone.")
@json_option
def stop(no_wait: bool, as_json: bool) -> int:
    """End the daemon: running calls are answered first, jobs stop at a checkpoint and go on at the next start."""
    with interrupted("the daemon may be ending: 'cryobridge status' says how it is"):
        return _stop(no_wait, as_json)


def _stop(no_wait: bool, as_json: bool) -> int:
    with DaemonClient.connect() as client:
        pid = client.welcome.pid
        client.request(StopDaemon())
        path = client.path
    end = time.monotonic() + STOP_WAIT_S
    while not no_wait:
        try:
            DaemonClient.connect({"CRYOBRIDGE_SOCKET": str(path)}).close()
        except DaemonUnavailable:
            break
        if time.monotonic() > end:
            click.echo(
                f"the daemon still runs after {STOP_WAIT_S:.0f} s; end it with 'kill {pid or '<pid>'}'", err=True
            )
            return wire.EXIT_FAILED
        time.sleep(0.1)
    state = "stopping" if no_wait else "stopped"
    if as_json:
        render.as_json({"state": state})
    else:
        click.echo(state)
    return wire.EXIT_OK


COMMANDS = (serve, status, ps, drain, resume, stop)
