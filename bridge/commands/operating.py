"""Commands for operators: refinements let go, figures for Prometheus, whether the daemon lives and is ready."""

from __future__ import annotations

import contextlib

import click

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.requests import AskMetrics, AskProcesses, Processes, ReleaseRefinement

from ..client import DaemonClient
from ..probe import probe
from ..terminal import printable
from . import render
from .daemon import json_option


@click.command()
@click.argument("session", required=False)
@click.option("--all", "all_of_them", is_flag=True, help="All that you may: your own, or as an operator everybody's.")
@json_option
def unload(session: str | None, all_of_them: bool, as_json: bool) -> None:
    """Let a warm refinement go, so that its memory is free; SESSION is its job folder and root, as 'ps' shows it.

    Its next call finds its state on disk and begins warm again.
    """
    if all_of_them == (session is not None):
        raise click.UsageError("name a refinement, or give --all")
    with DaemonClient.connect() as client:
        released = _release_all(client) if session is None else [_release(client, session)]
    if as_json:
        render.as_json({"released": released})
        return
    for name in released:
        click.echo(f"{printable(name)}: let go")
    if not released:
        click.echo("no refinement is warm")


def _release(client: DaemonClient, session: str) -> str:
    return str(client.request(ReleaseRefinement(session=session)).get("session"))


def _release_all(client: DaemonClient) -> list[str]:
    shown = Processes.read(client.request(AskProcesses()), "the reply to 'ps'")
    released = []
    for row in shown.sessions:
        # One that has ended meanwhile is gone already.
        with contextlib.suppress(InputInvalid):
            released.append(_release(client, str(row.get("session"))))
    return released


@click.command()
@json_option
def metrics(as_json: bool) -> None:
    """Print the daemon's figures as Prometheus reads them; 'metrics_file' in the configuration makes a file of them."""
    with DaemonClient.connect() as client:
        reply = client.request(AskMetrics())
    if as_json:
        render.as_json(reply)
    else:
        click.echo(str(reply.get("text", "")), nl=False)


@click.command()
@json_option
def live(as_json: bool) -> int:
    """Say whether a daemon lives: exit 0 yes, 3 no."""
    return probe("live", as_json=as_json)


@click.command()
@json_option
def ready(as_json: bool) -> int:
    """Say whether the daemon takes calls: exit 0 yes, 4 not now (draining, busy, no worker can start), 3 no daemon."""
    return probe("ready", as_json=as_json)


COMMANDS = (unload, metrics, live, ready)
