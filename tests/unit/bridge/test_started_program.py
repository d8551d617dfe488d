"""A program that is started for a user gets the user's signals, and its exit code is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.daemon_process import wait_for

from cryobridge.bridge.started_program import run_program, signals_held

PYTHON = sys.executable
RUNS = """
import os, sys
from cryobridge.bridge.started_program import run_program, signals_held
with signals_held():
    code = run_program([sys.executable, "-c", *sys.argv[1:]], os.environ, lambda: None)
sys.exit(code)
"""
HOLDS = """
import os, signal
from cryobridge.bridge.started_program import PASSED_ON, signals_held
before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
with signals_held():
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= set(PASSED_ON)
    os.kill(os.getpid(), signal.SIGTERM)
assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
"""


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

    # A process of its own: a signal that comes to one with other threads is taken by one of them.
    with subprocess.Popen([PYTHON, "-c", RUNS, source, str(int(number)), str(tmp_path)]) as runner:
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2, 60)
        runner.send_signal(number)
        assert runner.wait(60) == 40 + number


def test_signals_are_as_before_afterwards() -> None:
    assert subprocess.run([PYTHON, "-c", HOLDS], check=False).returncode == 0


def test_the_program_takes_signals_though_they_are_held_back_here() -> None:
    source = "import signal; raise SystemExit(len(signal.pthread_sigmask(signal.SIG_BLOCK, ())))"
    assert run(source) == 0


def test_a_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with signals_held(), pytest.raises(OSError, match="nothing"):
        run_program([str(tmp_path / "nothing")], os.environ, lambda: None)
