"""What an operator copies works: the unit starts a command that exists, the example names every key."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from cryobridge.bridge.commands.cryosparc import cryosparc_command, look_after
from cryobridge.bridge.commands.cryosparc_options import EMAIL, PASSWORD, URL
from cryobridge.bridge.commands.daemon import serve
from cryobridge.schemas.config import DaemonConfig, load

UNITS = {
    "cryobridge.service": "%h/.local/bin/cryobridge",
    "cryosparc-agent.service": "%h/.local/share/cryosparc-agent/bin/cryobridge",
}
"""Each unit and the program it starts."""


def unit(repository: Path, name: str = "cryobridge.service") -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(repository / "systemd" / name)
    return parser


def test_the_unit_starts_the_daemon_with_its_configuration(repository: Path) -> None:
    words = shlex.split(unit(repository)["Service"]["ExecStart"])
    assert Path(words[0]).name == "cryobridge"
    assert words[1] == serve.name
    assert words[2] == "--config"


def test_stopping_has_time_to_answer_running_calls(repository: Path) -> None:
    assert int(unit(repository)["Service"]["TimeoutStopSec"]) > DaemonConfig().deadlines.drain_s + 10


@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit(repository: Path, tmp_path: Path, name: str) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    text = (repository / "systemd" / name).read_text()
    assert UNITS[name] in text
    copy = tmp_path / name
    copy.write_text(text.replace(UNITS[name], "/bin/true"))
    answer = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False)
    complaints = [line for line in answer.stderr.splitlines() if name in line]
    assert complaints == []


def variables(repository: Path) -> dict[str, str]:
    text = (repository / "systemd" / "cryosparc-agent.example.env").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_the_agents_unit_starts_the_agent_with_the_options_of_its_file(repository: Path) -> None:
    service = unit(repository, "cryosparc-agent.service")["Service"]
    path = shlex.split(service["ExecStart"])
    assert path[1:] == [str(cryosparc_command.name), str(look_after.name), "$AGENT_OPTIONS"]
    assert service["EnvironmentFile"].endswith("/cryosparc-agent.env")
    given = variables(repository)
    words = [*shlex.split(given["AGENT_OPTIONS"]), "--url", given[URL], "--email", given[EMAIL]]
    context = look_after.make_context("agent", words)
    assert context.params["projects"] == ("P3", "P7")
    with pytest.raises(click.UsageError):
        look_after.make_context("agent", ["--url", given[URL]])


def test_no_password_is_kept_for_the_agent(repository: Path) -> None:
    assert set(variables(repository)) == {URL, EMAIL, "AGENT_OPTIONS"}
    for name in ("cryosparc-agent.example.env", "cryosparc-agent.service"):
        assert PASSWORD not in (repository / "systemd" / name).read_text()


def test_the_agent_comes_after_the_daemon_comes_back_always_and_may_no_more_than_the_daemon(repository: Path) -> None:
    agent, daemon = unit(repository, "cryosparc-agent.service"), unit(repository)
    assert agent["Unit"]["After"] == agent["Unit"]["Wants"] == "cryobridge.service"
    assert agent["Service"]["Restart"] == "always"
    assert agent["Unit"]["StartLimitIntervalSec"] == "0"
    limits = ("UMask", "NoNewPrivileges", "LockPersonality", "RestrictRealtime", "RestrictSUIDSGID")
    for key in (*limits, "SystemCallArchitectures"):
        assert agent["Service"][key] == daemon["Service"][key]


def test_the_environment_of_the_agent_is_made_from_what_is_listed(repository: Path) -> None:
    told = "-r systemd/cryosparc-agent.requirements.txt"
    for name in ("cryosparc-agent.service", "cryosparc-agent.requirements.txt"):
        text = (repository / "systemd" / name).read_text()
        assert told in text
        assert "install --no-deps ." in text


def test_the_example_changes_nothing_as_it_is(repository: Path) -> None:
    loaded = load(repository / "systemd" / "cryobridge.example.yaml", environment={})
    assert loaded.config == DaemonConfig()


def test_the_example_shows_every_key_with_its_default(repository: Path, tmp_path: Path) -> None:
    text = (repository / "systemd" / "cryobridge.example.yaml").read_text()
    in_force = tmp_path / "config.yaml"
    in_force.write_text(re.sub(r"(?m)^# ((?:  )*\w+:)(?= \S|$)", r"\1", text))
    loaded = load(in_force, environment={})
    assert loaded.config == DaemonConfig()
    missing = [key for key, origin in loaded.origins.items() if origin == "default"]
    assert missing == []
