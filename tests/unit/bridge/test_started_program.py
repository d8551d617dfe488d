"""A program that is started for a user gets the user's signals, and its exit code is told."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from cryobridge.bridge.started_program import PASSED_ON, run_program, signals_held

PYTHON = sys.executable


def run(source: str, *words: str) -> int:
    with signals_held():
        return run_program([PYTHON, "-c", source, *words], os.environ, lambda: None)


def test_its_exit_code_is_told() -> None:
    assert run("raise SystemExit(7)") == 7
    assert run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_it_and_what_it_started_get_the_signals_that_come_here(tmp_path: Path, number: signal.Signals) -> None:
    source = (
        "import os, pathlib, signal, sys, time\n"
        "number = int(sys.argv[1])\n"
        "parent = os.fork() != 0\n"
        "def came(n, _):\n"
        "    if parent:\n        os.wait()\n"
        "    os._exit(40 + n if parent else 0)\n"
        "signal.signal(number, came)\n"
        "pathlib.Path(sys.argv[2], 'parent' if parent else 'child').touch()\n"
        "time.sleep(60)\n"
    )

    def send() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            pass
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    with signals_held():
        # A thread that is started now holds the signals back too.
        thread.start()
        code = run_program([PYTHON, "-c", source, str(int(number)), str(tmp_path)], os.environ, lambda: None)
    thread.join()
    assert code == 40 + number


def test_signals_are_as_before_afterwards() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with signals_held():
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= set(PASSED_ON)
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_the_program_takes_signals_though_they_are_held_back_here() -> None:
    source = "import signal; raise SystemExit(len(signal.pthread_sigmask(signal.SIG_BLOCK, ())))"
    assert run(source) == 0


def test_a_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with signals_held(), pytest.raises(OSError, match="nothing"):
        run_program([str(tmp_path / "nothing")], os.environ, lambda: None)
