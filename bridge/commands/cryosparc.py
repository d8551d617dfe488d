"""Commands beside CryoSPARC: log in, look whether all is well, run a job, make a card, look after cards."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cryobridge.schemas import wire
from cryobridge.schemas.errors import InputInvalid, OptionsInvalid

from ..interrupted import interrupted
from ..terminal import printable
from .cryosparc_doctor import doctor
from .cryosparc_folder import folder_options, folder_run, run_on_folder
from .cryosparc_options import PASSWORD, email_option, optional_url_option, url_option
from .nearest import NearestGroup

if TYPE_CHECKING:
    from cryobridge.wrappers.cryosparc.card.memory import Memory
    from cryobridge.wrappers.cryosparc.documents import Source
    from cryobridge.wrappers.cryosparc.options_block import CardOptions
    from cryobridge.wrappers.cryosparc.server import CryosparcServer


def _place_options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option("--workspace", required=True, help="Workspace, e.g. W1.")(command)
    return click.option("--project", required=True, help="Project, e.g. P3.")(command)


def _job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option("--job", "kind", required=True, help="Kind of job, e.g. map.correct."),
            click.option("--volume", help="Job whose volume is used, e.g. J42 or J42:volume."),
            click.option("--mask", help="Job whose mask is used."),
            click.option("--particles", help="Job whose particles are used."),
            click.option(
                "--connect", multiple=True, metavar="INPUT=JOB", help="Any other input, e.g. fsc3d=J50:fsc3d."
            ),
            click.option(
                "--set", "choices", multiple=True, metavar="KEY=VALUE", help="Option of the job, e.g. effort=quick."
            ),
            click.option(
                "--use-mask",
                default="auto",
                show_default=True,
                help="Mask of the volume that is used where none is connected: the first there is (auto), mask_refine, "
                "mask_fsc, mask_fsc_auto, or none.",
            ),
        )
    ):
        command = option(command)
    return command


@click.group("cryosparc", cls=NearestGroup)
def cryosparc_command() -> None:
    """Run jobs as external jobs of CryoSPARC; docs/cryosparc.md tells how."""


@cryosparc_command.command()
@url_option
@email_option
@click.option("--days", type=click.FloatRange(0.01, 365), default=14.0, show_default=True, help="Days the token lasts.")
def login(url: str, email: str, days: float) -> None:
    """Get a token for a user of CryoSPARC 5, and keep it."""
    from cryobridge.wrappers.cryosparc.connecting import check_has_tokens
    from cryobridge.wrappers.cryosparc.v5.login import log_in, token_path
    from cryobridge.wrappers.cryosparc.versions import checked_url, spoken_to, tools_version

    url = checked_url(url)
    if tools_version():
        check_has_tokens(url)
    spoken_to(url)
    email = email or click.prompt("E-mail")
    password = os.environ.get(PASSWORD) or click.prompt("Password", hide_input=True)
    expires = log_in(url, email, password, days)
    click.echo(f"logged in until {expires:%Y-%m-%d %H:%M} UTC ({token_path()})")


@cryosparc_command.command("run")
@optional_url_option
@email_option
@click.option("--project", help="Project, e.g. P3.")
@click.option("--workspace", help="Workspace, e.g. W1.")
@_job_options
@folder_options
@click.pass_context
def run_job(ctx: click.Context, /, kind: str, **given: Any) -> int:
    """Run one job now, as an external job with its log, plots and outputs in CryoSPARC; exit 0 if it is completed.

    With --job-dir it needs no server and no login: it reads the folder of a job, never writes into it, and leaves a
    result that CryoSPARC can import.
    """
    folder = folder_run(ctx, given)
    options = _card_options(kind, given)
    return run_on_folder(options, folder) if folder else _run_card(options, **given)


def _run_card(options: CardOptions, url: str, email: str, project: str, workspace: str, **given: Any) -> int:
    from cryobridge.wrappers.cryosparc.agent.go_signs import DEFAULT_TAG
    from cryobridge.wrappers.cryosparc.card.card_run import End
    from cryobridge.wrappers.cryosparc.card.foreground import check_finished, run_card
    from cryobridge.wrappers.cryosparc.card.new_card import new_card
    from cryobridge.wrappers.cryosparc.card.request import check_options
    from cryobridge.wrappers.cryosparc.documents import project_id, workspace_id
    from cryobridge.wrappers.cryosparc.patience import CardPatience

    from ..daemon_jobs import DaemonJobs

    check_options(options)
    server = _server(url, email)
    memory, daemon = _memory(server), DaemonJobs()
    project, workspace = project_id(project), workspace_id(workspace)
    connections = _connections(given)
    check_finished(server, project, [source.job for source in connections.values()])
    card = new_card(server, project, workspace, options, connections, DEFAULT_TAG, CardPatience())
    click.echo(str(card))

    def left() -> str:
        return f"{card} " + (
            "is left to 'cryobridge cryosparc agent'" if card in memory.cards() else "is marked failed"
        )

    with interrupted(left), _talking(), _ended_like_ctrl_c():
        end = run_card(server, daemon, memory, card, given["also_read"])
    click.echo(f"{card}: {end.value}", err=end is not End.COMPLETED)
    return wire.EXIT_OK if end is End.COMPLETED else wire.EXIT_FAILED


@cryosparc_command.command("card")
@url_option
@email_option
@_place_options
@_job_options
@click.option("--auto", is_flag=True, help="It begins by itself once its inputs are connected.")
@click.option("--tag", default="cryobridge", show_default=True, help="Title of the tag that starts it.")
def make_card(
    url: str, email: str, project: str, workspace: str, kind: str, auto: bool, tag: str, **given: Any
) -> None:
    """Make a card that a user fills by drag and drop and the agent runs; print its id."""
    from cryobridge.wrappers.cryosparc.card.new_card import new_card
    from cryobridge.wrappers.cryosparc.card.request import check_options
    from cryobridge.wrappers.cryosparc.documents import project_id, workspace_id
    from cryobridge.wrappers.cryosparc.patience import CardPatience

    options = _card_options(kind, given, auto=auto)
    check_options(options)
    server = _server(url, email)
    card = new_card(
        server, project_id(project), workspace_id(workspace), options, _connections(given), tag, CardPatience()
    )
    click.echo(str(card))


@cryosparc_command.command("agent")
@url_option
@email_option
@click.option("--project", "projects", multiple=True, required=True, help="Project to look after; may be repeated.")
@click.option("--tag", default="cryobridge", show_default=True, help="Title of the tag that starts a card.")
@click.option(
    "--at-once", type=click.IntRange(1, 64), default=2, show_default=True, help="Jobs at the daemon at a time."
)
@click.option(
    "--also-read",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder outside of the projects that links in them may lead to; may be repeated.",
)
@click.option("--live", is_flag=True, help="Also diagnose the maps of running Live sessions that carry the tag.")
@click.option(
    "--live-every",
    type=click.FloatRange(min=1),
    default=10.0,
    show_default=True,
    metavar="MINUTES",
    help="At most so often for each session.",
)
def look_after(
    url: str,
    email: str,
    projects: tuple[str, ...],
    tag: str,
    at_once: int,
    also_read: tuple[Path, ...],
    live: bool,
    live_every: float,
) -> None:
    """Look after cards until stopped; what is then at work goes on with the next agent."""
    from cryobridge.wrappers.cryosparc.agent.agent import Agent, AgentSettings
    from cryobridge.wrappers.cryosparc.card.card_run import CardSurroundings
    from cryobridge.wrappers.cryosparc.documents import project_id
    from cryobridge.wrappers.cryosparc.patience import CardPatience

    from ..daemon_jobs import DaemonJobs

    server = _server(url, email)
    around = CardSurroundings(server, DaemonJobs(), _memory(server), CardPatience(), lambda _: None, also_read)
    ids = tuple(dict.fromkeys(project_id(one) for one in projects))
    settings = AgentSettings(ids, tag, at_once, live_every_s=60 * live_every if live else None)
    agent = Agent(settings, around, token_expires=lambda: _token_expires(url, email))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    with _talking():
        agent.run()


cryosparc_command.add_command(doctor)

COMMANDS = (cryosparc_command,)


def _server(url: str, email: str) -> CryosparcServer:
    """The server, spoken to in its version; a mismatch of versions is one sentence."""
    from cryobridge.wrappers.cryosparc.connecting import connected

    server, complaint = connected(url, email, os.environ.get(PASSWORD, ""))
    if complaint:
        click.echo(f"cryobridge: {printable(complaint)}", err=True)
    return server


def _token_expires(url: str, email: str) -> datetime | None:
    """When the token expires; None where a password is used, or none is kept for this version of CryoSPARC."""
    from cryobridge.wrappers.cryosparc.versions import checked_url

    if email and os.environ.get(PASSWORD):
        return None
    try:
        from cryobridge.wrappers.cryosparc.v5.login import token_expires

        return token_expires(checked_url(url), email)
    except ImportError:
        return None


def _memory(server: CryosparcServer) -> Memory:
    from cryobridge.wrappers.cryosparc.card.memory import Memory
    from cryobridge.wrappers.cryosparc.state_folder import state_folder

    return Memory(state_folder(server.url))


def _card_options(kind: str, given: dict[str, Any], *, auto: bool = False) -> CardOptions:
    from cryobridge.wrappers.cryosparc.options_block import read_block

    lines = [f"job = {kind}", f"use_mask = {given['use_mask']}", *(["go = when_connected"] if auto else [])]
    lines += [choice.replace("=", " = ", 1) for choice in given["choices"]]
    try:
        return read_block("\n".join(["```cryobridge", *lines, "```"]))
    except OptionsInvalid as error:
        raise click.UsageError(error.sentence) from error


def _connections(given: dict[str, Any]) -> dict[str, Source]:
    from cryobridge.wrappers.cryosparc.documents import source_of

    named = {name: given[name] for name in ("volume", "mask", "particles") if given[name]}
    for text in given["connect"]:
        name, equals, source = text.partition("=")
        if not equals:
            raise InputInvalid(f"'{text[:80]}' is not written as INPUT=JOB, e.g. fsc3d=J50:fsc3d")
        named[name] = source
    return {name: source_of(source) for name, source in named.items()}


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """SIGTERM and a terminal that is closed end the command as Ctrl-C does, so that the card is marked failed."""

    def end(number: int, _: object) -> None:
        # Once: a second one must not stop what is done about the first.
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    numbers = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) != signal.SIG_IGN]
    before = {one: signal.signal(one, end) for one in numbers}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


class _Printable(logging.Formatter):
    """Words of a server, and of whoever wrote on its cards, as lines that no terminal obeys and no other look like."""

    def format(self, record: logging.LogRecord) -> str:
        """A line; what follows in the same message is set in."""
        return "\n    ".join(line and printable(line) for line in super().format(record).splitlines())


@contextmanager
def _talking() -> Iterator[None]:
    """Show what the bridge does, line by line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("cryobridge.wrappers.cryosparc")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
