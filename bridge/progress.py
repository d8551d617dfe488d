"""Progress of a job as it is shown: a bar on a terminal, a line now and then in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import IO

import click

from .terminal import printable

STEP = 0.1
PAUSE_S = 30.0


class ProgressLines:
    """One line at the start, one per 10 %, and one when nothing was said for 30 s; no carriage returns."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._said: tuple[float, int] | None = None

    def update(self, text: str, fraction: float | None) -> None:
        """Take a report; print it if it is time."""
        now = self._clock()
        step = -1 if fraction is None else int(fraction / STEP + 1e-9)
        if self._said and step == self._said[1] and now - self._said[0] < PAUSE_S:
            return
        self._said = now, step
        self._write(text if fraction is None else f"{fraction:4.0%}  {text}")


class ProgressBar:
    """A bar with the time that is left."""

    def __init__(self, stream: IO[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self.live = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(file=stream),
            transient=True,
        )
        self._task = self.live.add_task("", total=1.0)

    def update(self, text: str, fraction: float | None) -> None:
        """Draw a report."""
        self.live.update(self._task, description=printable(text), completed=fraction)


ShownProgress = tuple[AbstractContextManager[object], Callable[[str, float | None], None]]
"""A context to hold while progress is shown, and what takes the reports."""


def shown_progress() -> ShownProgress:
    """Show progress on standard error: a bar on a terminal, else lines."""
    if sys.stderr.isatty():
        bar = ProgressBar(sys.stderr)
        return bar.live, bar.update
    return nullcontext(), ProgressLines(lambda line: click.echo(printable(line), err=True)).update


def progress_lines() -> ShownProgress:
    """Show progress on standard output, in lines, for a program that keeps standard error for what went wrong."""
    return nullcontext(), ProgressLines(lambda line: click.echo(printable(line))).update


def shown_nowhere() -> ShownProgress:
    """Stand in for the progress of a process that only helps."""
    return nullcontext(), lambda _text, _fraction: None
