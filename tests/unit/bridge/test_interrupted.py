"""Ctrl-C that comes while a process is made: Python forgets it in what it calls after a fork, and we do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cryobridge.bridge.interrupted import held_back

CODE = """
import os, signal, subprocess, sys
from contextlib import nullcontext
from cryobridge.bridge.interrupted import held_back

signal.signal(signal.SIGINT, signal.default_int_handler)
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGINT))
try:
    with held_back() if sys.argv[1] == "held" else nullcontext():
        process = subprocess.Popen([sys.executable, "-c", ""], preexec_fn=lambda: None)
    process.wait()
    print("forgotten")
except KeyboardInterrupt:
    print("heard", process.wait())
"""


@pytest.fixture
def pressed() -> Iterator[None]:
    """Ctrl-C does what it does in a terminal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("how", "answer"), [("held", "heard 0\n"), ("plain", "forgotten\n")])
def test_ctrl_c_at_a_fork_is_heard_after_it(how: str, answer: str) -> None:
    done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, timeout=60)
    assert done.stdout == answer, done.stderr


@pytest.mark.usefixtures("pressed")
def test_it_is_told_once_all_inside_is_done() -> None:
    reached = []

    def deed() -> None:
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("end")

    with pytest.raises(KeyboardInterrupt):
        deed()
    assert reached == ["end"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("pressed")
def test_without_ctrl_c_nothing_is_said() -> None:
    with held_back():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_where_it_is_ignored_it_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
