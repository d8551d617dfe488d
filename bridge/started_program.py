"""A program started for a user and waited for: it gets the signals that this process gets, and has its exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_LOOK_EVERY_S = 2.0


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Hold back the signals that are passed on, from before the program is started until all is put in order."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*PASSED_ON, signal.SIGCHLD})
    try:
        yield
    finally:
        # What came too late to be passed on has nobody to end any more.
        while signal.sigtimedwait(PASSED_ON, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def run_program(command: Sequence[str], environment: Mapping[str, str], look: Callable[[], None]) -> int:
    """Run a program to its end; its exit code, 128 + n where signal n ended it. For use within `signals_held`.

    A terminal sends Ctrl-C to the program by itself. Where there is none, the program gets a process group, and every
    signal goes to all of it.

    Parameters
    ----------
    look
        Called every two seconds and whenever a child has ended.

    Raises
    ------
    OSError
        If it cannot be started.
    """
    at_terminal = sys.stdin is not None and sys.stdin.isatty()
    process = subprocess.Popen(
        list(command), env=dict(environment), process_group=None if at_terminal else 0, preexec_fn=_take_signals
    )
    while process.poll() is None:
        came = signal.sigtimedwait({*PASSED_ON, signal.SIGCHLD}, _LOOK_EVERY_S)
        if came is not None and came.si_signo != signal.SIGCHLD:
            _pass_on(process, came.si_signo, at_terminal=at_terminal)
        look()
    return 128 - process.returncode if process.returncode < 0 else process.returncode


def _pass_on(process: subprocess.Popen[bytes], number: int, *, at_terminal: bool) -> None:
    with contextlib.suppress(ProcessLookupError):
        if not at_terminal:
            os.killpg(process.pid, number)
        elif number != signal.SIGINT:
            process.send_signal(number)


def _take_signals() -> None:
    """In the new process: signals come again."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
