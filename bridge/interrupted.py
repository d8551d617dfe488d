"""Ctrl-C: whatever a command was doing, it ends in one line that says how to go on.

Standard library only, and little of it: it is there before anything else is loaded.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_INTERRUPTED = 130
"""As a shell says it: 128 and the number of the signal."""


class Interrupted(Exception):  # noqa: N818 - it is the user's wish, no error
    """A command was stopped by Ctrl-C; its text says how to go on."""


@contextmanager
def interrupted(how_to_go_on: str | Callable[[], str]) -> Iterator[None]:
    """Turn Ctrl-C into `Interrupted`; what is called is asked after everything inside has ended.

    Raises
    ------
    Interrupted
        In the place of `KeyboardInterrupt`.
    """
    try:
        yield
    except KeyboardInterrupt:
        words = how_to_go_on if isinstance(how_to_go_on, str) else how_to_go_on()
        raise Interrupted(words) from None


@contextmanager
def held_back() -> Iterator[None]:
    """Let Ctrl-C wait until this is over: in what Python calls after a fork it would be printed and forgotten.

    For the main thread, which alone is told of signals.

    Raises
    ------
    KeyboardInterrupt
        At the end, if it came.
    """
    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if not callable(before):
        # Ignored, as in what a shell runs in the background.
        yield
        return
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


def ended_by_ctrl_c(words: str = "") -> int:
    """Say so in one line on standard error; return the exit code."""
    # A terminal has shown ^C, and stands behind it.
    sys.stderr.write("\n" if sys.stderr.isatty() else "")
    sys.stderr.write(f"stopped{f'; {words}' if words else ''}\n")
    return EXIT_INTERRUPTED
