"""Figures as words, commands that become another module, the installed program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cryobridge import __version__
from cryobridge.bridge import cli
from cryobridge.bridge.commands import daemon as daemon_commands
from cryobridge.bridge.commands import render


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (273600, "3 d 4 h"),
        (None, "-"),
    ],
)
def test_durations_are_words(seconds: object, words: str) -> None:
    assert render.duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"), (3e12, "3.0 TB"), ("x", "-")]
)
def test_sizes_are_words(count: object, words: str) -> None:
    assert render.size(count) == words


@pytest.mark.parametrize(("command", "module"), [("serve", "bridge.daemon"), ("demo", "wrappers.relion.demo")])
def test_serve_and_demo_become_their_module(monkeypatch: pytest.MonkeyPatch, command: str, module: str) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(daemon_commands.os, "execv", lambda _, arguments: called.append(arguments))
    cli.run([command, "--help", "-x", "y"])
    assert called == [[sys.executable, "-I", "-m", f"cryobridge.{module}", "--help", "-x", "y"]]


def test_the_program_is_installed_under_its_name() -> None:
    program = Path(sys.executable).parent / "cryobridge"
    if not program.exists():
        pytest.skip("cryobridge is not installed in this environment")
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, env={**os.environ}, check=True)
    assert answer.stdout == f"cryobridge {__version__}\n"
