"""The command `top`: what the daemon does, live on a terminal, once in a pipe, or as JSON lines for programs."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator

import click

from cryobridge.schemas import wire
from cryobridge.schemas.news import Board, NewsEvent, NewsLost, Snapshot

from ..client import DaemonClient
from . import render
from .daemon import json_option
from .screen import Screen

DRAW_EVERY_S = 0.25
CLOCK_S = 1.0
"""The page is drawn anew so often where nothing happens: times go on."""


@click.command()
@click.option("--once", is_flag=True, help="Print it once and end, as it does where the output is no terminal.")
@json_option
def top(once: bool, as_json: bool) -> int:
    """Show what the daemon does: devices and who is on them, refinements, the queue by user; 'q' or Ctrl-C ends it.

    With --json: a snapshot, then every change, one JSON object a line; with --once as well the snapshot alone.
    """
    live = not as_json and not once and sys.stdout.isatty()
    with DaemonClient.connect() as client, contextlib.suppress(KeyboardInterrupt):
        client.follow(once=not live and (once or not as_json))
        if as_json:
            _print_lines(client, once)
        elif live:
            _show(client)
        else:
            _print_once(client)
    return wire.EXIT_OK


def _print_lines(client: DaemonClient, once: bool) -> None:
    while True:
        told = client.news(wire.SILENCE_LIMIT_S)
        if told is None:
            continue
        try:
            sys.stdout.write(json.dumps(told.as_message(), ensure_ascii=False) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read has gone, and what Python would still write at its end goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_NONBLOCK), sys.stdout.fileno())
            return
        if once:
            return


def _print_once(client: DaemonClient) -> None:
    from rich.console import Console

    board = Board()
    while board.number < 0:
        _take(board, client.news(wire.SILENCE_LIMIT_S))
    screen = Screen(board)
    width = None if sys.stdout.isatty() else render.WIDE
    Console(file=sys.stdout, width=width, highlight=False).print(screen.page(time.monotonic(), time.time()))


def _show(client: DaemonClient) -> None:
    """Draw until 'q' is pressed."""
    from rich.live import Live

    board = Board()
    screen = Screen(board)
    drawn_at, changed = float("-inf"), True
    with _keys() as pressed, Live(screen=True, auto_refresh=False) as live:
        while not pressed("q"):
            told = client.news(DRAW_EVERY_S)
            if told is not None:
                changed = True
                _take(board, told)
            now = time.monotonic()
            screen.note(now)
            if board.number >= 0 and now - drawn_at >= (DRAW_EVERY_S if changed else CLOCK_S):
                drawn_at, changed = now, False
                live.update(screen.page(now, time.time()), refresh=True)


def _take(board: Board, told: Snapshot | NewsEvent | None) -> None:
    """Let the board take what was told; after a loss it waits for the snapshot that follows."""
    if told is not None:
        with contextlib.suppress(NewsLost):
            board.take(told)


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[str], bool]]:
    """Read single keys for as long as this is held; says of a character whether it was pressed since."""
    if not sys.stdin.isatty():
        yield lambda _: False
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)

    def pressed(key: str) -> bool:
        ready, _, _ = select.select([fd], [], [], 0)
        return bool(ready) and key.encode() in os.read(fd, 64)

    try:
        tty.setcbreak(fd)
        yield pressed
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


COMMANDS = (top,)
