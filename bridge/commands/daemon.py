"""Commands that start, ask and stop the daemon."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import click

from cryobridge.schemas import wire
from cryobridge.schemas.errors import DaemonUnavailable
from cryobridge.schemas.state import TERMINAL

from .. import render
from ..client import DaemonClient, degradations

PASS_THROUGH = {"ignore_unknown_options": True, "help_option_names": []}
FOLLOW_PAUSE_S = 1.0
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
        with DaemonClient.connect() as client:
            reply = client.request("status")
    except DaemonUnavailable as error:
        if as_json:
            render.as_json({"state": "not running", "text": str(error)})
            return wire.EXIT_NO_DAEMON
        raise
    problems = degradations(reply)
    if as_json:
        render.as_json({**reply, "problems": problems})
    else:
        _print_status(reply, problems)
    return wire.EXIT_DEGRADED if problems else wire.EXIT_OK


def _print_status(reply: dict[str, Any], problems: list[str]) -> None:
    queue = reply.get("queue")
    render.pairs(
        {
            "state": reply.get("state"),
            "version": reply.get("version"),
            "up": render.duration(reply.get("uptime_s")),
            "pid": reply.get("pid"),
            "socket": reply.get("socket"),
            "queue": ", ".join(f"{name} {count}" for name, count in queue.items())
            if isinstance(queue, dict)
            else queue,
            "refinements": len(reply.get("sessions") or []),
            "last fallback": _fallback(reply.get("last_fallback")),
        }
    )
    for worker in reply.get("workers", []):
        name = worker.get("name") or ""
        click.echo(
            f"worker {worker.get('device')} {name}: {worker.get('state')}, "
            f"{render.size(worker.get('rss_bytes'))}, {worker.get('task') or 'no task'}"
        )
    for problem in problems:
        click.echo(f"problem: {problem}")


def _fallback(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {render.printable(item)}" for name, item in value.items())
    return str(value) if value else "none"


@click.command()
@json_option
def ps(as_json: bool) -> None:
    """List what is warm or running now: refinements and jobs, on which device."""
    with DaemonClient.connect() as client:
        reply = client.request("ps")
    if as_json:
        render.as_json(reply)
        return
    rows = reply.get("processes") or reply.get("tasks") or reply.get("sessions") or []
    columns = list(dict.fromkeys(key for row in rows for key in row))
    render.table([column.upper() for column in columns], [[row.get(key) for key in columns] for row in rows], "nothing")


@click.command()
@click.argument("job_id")
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the job is finished.")
@json_option
def logs(job_id: str, follow: bool, as_json: bool) -> None:
    """Print the log of job JOB_ID."""
    printed = 0
    with DaemonClient.connect() as client:
        while True:
            reply = client.request("logs", job_id=job_id)
            lines = log_lines(reply)
            if as_json:
                render.as_json(reply)
                return
            for line in lines[printed:]:
                click.echo(render.printable(line))
            printed = len(lines)
            if not follow or client.request("wait", job_id=job_id, timeout_s=0).get("state") in TERMINAL:
                return
            time.sleep(FOLLOW_PAUSE_S)


def log_lines(reply: dict[str, Any]) -> list[str]:
    """The lines of a `logs` reply."""
    text = reply.get("text")
    return text.splitlines() if isinstance(text, str) else [str(line) for line in reply.get("lines", [])]


@click.command()
@json_option
def drain(as_json: bool) -> None:
    """Let the daemon finish what runs and take nothing new; RELION's calls get the standard map meanwhile."""
    with DaemonClient.connect() as client:
        reply = client.request("drain")
    if as_json:
        render.as_json(reply)
    else:
        click.echo("draining: running work is finished, nothing new is taken; 'cryobridge stop' ends the daemon")


@click.command()
@click.option("--no-wait", is_flag=True, help="Return at once, not when the daemon is gone.")
def stop(no_wait: bool) -> int:
    """End the daemon: running calls are answered first, jobs stop at a checkpoint and go on at the next start."""
    with DaemonClient.connect() as client:
        pid = client.welcome.get("pid")
        client.request("stop")
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
    click.echo("stopping" if no_wait else "stopped")
    return wire.EXIT_OK


COMMANDS = (serve, status, ps, logs, drain, stop)
