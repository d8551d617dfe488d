"""What an operator copies works: the unit starts a command that exists, the example names every key."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from cryobridge.bridge.commands.daemon import serve
from cryobridge.schemas.config import DaemonConfig, load


def unit(repository: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(repository / "systemd" / "cryobridge.service")
    return parser


def test_the_unit_starts_the_daemon_with_its_configuration(repository: Path) -> None:
    words = shlex.split(unit(repository)["Service"]["ExecStart"])
    assert Path(words[0]).name == "cryobridge"
    assert words[1] == serve.name
    assert words[2] == "--config"


def test_stopping_has_time_to_answer_running_calls(repository: Path) -> None:
    assert int(unit(repository)["Service"]["TimeoutStopSec"]) > DaemonConfig().deadlines.drain_s + 10


def test_systemd_accepts_the_unit(repository: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    text = (repository / "systemd" / "cryobridge.service").read_text()
    copy = tmp_path / "cryobridge.service"
    copy.write_text(text.replace("%h/.local/bin/cryobridge", "/bin/true"))
    answer = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False)
    complaints = [line for line in answer.stderr.splitlines() if "cryobridge.service" in line]
    assert complaints == []


def test_the_example_changes_nothing_as_it_is(repository: Path) -> None:
    loaded = load(repository / "systemd" / "cryobridge.example.yaml", environment={})
    assert loaded.config == DaemonConfig()


def test_the_example_shows_every_key_with_its_default(repository: Path, tmp_path: Path) -> None:
    text = (repository / "systemd" / "cryobridge.example.yaml").read_text()
    in_force = tmp_path / "config.yaml"
    in_force.write_text(re.sub(r"(?m)^# ((?:  )?\w+:)(?= \S|$)", r"\1", text))
    loaded = load(in_force, environment={})
    assert loaded.config == DaemonConfig()
    missing = [key for key, origin in loaded.origins.items() if origin == "default"]
    assert missing == []
