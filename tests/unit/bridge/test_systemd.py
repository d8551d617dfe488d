"""What an operator copies works: the unit starts a command that exists, the example names every key."""

from __future__ import annotations

import configparser
import os
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
from cryobridge.bridge.daemon.process import SAY_GOODBYE_S, WORKERS_END_S
from cryobridge.bridge.daemon.service_manager import PINGS_PER_LIMIT, PULSE_S
from cryobridge.schemas.config import DaemonConfig, load
from cryobridge.schemas.wire import system_socket_path

SERVICE, SOCKET = "system/cryobridge.service", "system/cryobridge.socket"
JOBS, USER, AGENT = "system/cryobridge-jobs@.service", "user/cryobridge.service", "cryosparc-agent.service"
UNITS = {
    SERVICE: "/opt/cryobridge/bin/cryobridge",
    SOCKET: "",
    JOBS: "/opt/cryobridge/bin/cryobridge",
    USER: "%h/.local/bin/cryobridge",
    AGENT: "%h/.local/share/cryosparc-agent/bin/cryobridge",
}
"""Each unit and the program it starts."""
DAEMONS = (SERVICE, JOBS, USER)
MOST_EXPOSED = 1.0
"""On systemd's scale from 0 to 10."""


class Unit(configparser.ConfigParser):
    """A unit file; a key that is given several times holds all its values."""

    def __init__(self, path: Path) -> None:
        super().__init__(interpolation=None, strict=False, comment_prefixes=("#",))
        self.optionxform = str  # type: ignore[assignment, method-assign]
        text = path.read_text()
        self.read_string(text.replace("\\\n", ""))
        self.lines = [line for line in text.splitlines() if line and not line.startswith("#")]

    def all(self, key: str) -> list[str]:
        return [line.partition("=")[2] for line in self.lines if line.startswith(f"{key}=")]


def unit(repository: Path, name: str = USER) -> Unit:
    return Unit(repository / "systemd" / name)


def seconds(text: str) -> float:
    assert text.isdigit()
    return float(text)


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed, so systemd cannot be asked what it thinks of the units")
    return found


@pytest.mark.parametrize("name", [SERVICE, USER])
def test_the_unit_starts_the_daemon_with_its_configuration(repository: Path, name: str) -> None:
    words = shlex.split(unit(repository, name)["Service"]["ExecStart"])
    assert words[0] == UNITS[name]
    assert words[1] == serve.name
    assert words[2] == "--config"


@pytest.mark.parametrize("name", DAEMONS)
def test_stopping_has_time_to_answer_running_calls(repository: Path, name: str) -> None:
    service = unit(repository, name)["Service"]
    assert seconds(service["TimeoutStopSec"]) > DaemonConfig().deadlines.drain_s + SAY_GOODBYE_S + WORKERS_END_S
    assert service["KillMode"] == "mixed"


@pytest.mark.parametrize("name", DAEMONS)
def test_a_silent_worker_is_replaced_before_systemd_loses_patience_with_the_daemon(repository: Path, name: str) -> None:
    service = unit(repository, name)["Service"]
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert seconds(service["WatchdogSec"]) >= PULSE_S * PINGS_PER_LIMIT
    assert seconds(service["WatchdogSec"]) > 2 * (DaemonConfig().deadlines.silence_s + PULSE_S)


def test_a_daemon_that_keeps_failing_is_given_up_before_it_has_been_killed_by_its_watchdog_for_hours(
    repository: Path,
) -> None:
    found = unit(repository, SERVICE)
    one_round = seconds(found["Service"]["WatchdogSec"]) + seconds(found["Service"]["RestartSec"]) + 2 * PULSE_S
    starts, within = int(found["Unit"]["StartLimitBurst"]), seconds(found["Unit"]["StartLimitIntervalSec"])
    assert starts * one_round < within
    assert found["Service"]["Restart"] == "on-failure"


def test_the_socket_is_where_hooks_look_and_outlives_the_service(repository: Path) -> None:
    socket, service = unit(repository, SOCKET)["Socket"], unit(repository, SERVICE)
    assert Path(socket["ListenStream"]) == system_socket_path()
    assert service["Unit"]["Requires"] == "cryobridge.socket"
    assert Path("/run") / service["Service"]["RuntimeDirectory"] == system_socket_path().parent
    assert service["Service"]["RuntimeDirectoryPreserve"] == "yes"
    tmpfiles = (repository / "systemd/tmpfiles.d/cryobridge.conf").read_text()
    assert (
        f"d {system_socket_path().parent} {service['Service']['RuntimeDirectoryMode']} cryobridge cryobridge"
        in tmpfiles
    )


def test_the_service_keeps_its_state_where_it_may_write(repository: Path) -> None:
    service = unit(repository, SERVICE)["Service"]
    config = load(repository / "systemd/system/config.yaml", environment={}).config
    assert config.state_path({}) == Path("/var/lib") / service["StateDirectory"]
    assert service["ProtectSystem"] == "strict"
    changed = {key for key, value in config if value != getattr(DaemonConfig(), key)}
    assert changed == {"state_dir"}


def test_the_service_sees_no_file_and_no_process_of_any_user_and_still_its_gpu(repository: Path) -> None:
    found = unit(repository, SERVICE)
    service = found["Service"]
    wanted = {"ProtectHome": "yes", "ProtectProc": "invisible", "NoNewPrivileges": "yes", "PrivateTmp": "yes"}
    wanted |= {"CapabilityBoundingSet": "", "AmbientCapabilities": "", "RestrictAddressFamilies": "AF_UNIX"}
    assert {key: service[key] for key in wanted} == wanted
    assert found.all("DeviceAllow") == ["char-nvidia* rw"]
    for hides_gpu_or_callers in ("PrivateDevices", "MemoryDenyWriteExecute", "ProcSubset", "PrivateUsers"):
        assert hides_gpu_or_callers not in service


def test_a_users_jobs_run_as_that_user_and_reach_his_folders(repository: Path) -> None:
    service = unit(repository, JOBS)["Service"]
    assert service["User"] == "%i"
    assert service["ExecStart"].rstrip("'").split()[-3:] == [UNITS[JOBS], str(serve.name), "--jobs-only"]
    assert not {"ProtectHome", "PrivateTmp", "ReadOnlyPaths", "RestrictSUIDSGID"} & set(service)
    assert service["ProtectSystem"] == "full"


@pytest.mark.parametrize("there", [True, False])
def test_a_users_jobs_are_listened_for_where_his_commands_look(repository: Path, tmp_path: Path, there: bool) -> None:
    """The shell in the unit, as systemd hands it on."""
    (line,) = [line for line in unit(repository, JOBS)["Service"]["ExecStart"].split("\n") if line]
    script = line.removeprefix("/bin/sh -c '").removesuffix("'").replace("$$", "$").replace("%i", "alice")
    script = script.replace("/run/user", str(tmp_path)).replace(UNITS[JOBS], "printenv XDG_RUNTIME_DIR; echo")
    folder = tmp_path / str(os.getuid())
    if there:
        folder.mkdir()
    script = script.replace("exec printenv", "printenv")
    answer = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    if there:
        assert answer.stdout.split("\n")[:2] == [str(folder), "serve --jobs-only"]
    else:
        assert answer.returncode == 1
        assert "loginctl enable-linger alice" in answer.stderr


@pytest.mark.parametrize("name", UNITS)
def test_systemd_accepts_the_unit(repository: Path, tmp_path: Path, analyze: str, name: str) -> None:
    for other, program in UNITS.items():
        if Path(other).parent == Path(name).parent:
            text = (repository / "systemd" / other).read_text()
            assert program in text
            (tmp_path / Path(other).name).write_text(text.replace(program, "/bin/true") if program else text)
    copy = tmp_path / Path(name).name
    answer = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False)
    complaints = [line for line in answer.stderr.splitlines() if copy.name.split("@")[0] in line]
    assert (answer.returncode, complaints) == (0, [])


def test_systemd_finds_a_unit_that_it_does_not_understand(repository: Path, tmp_path: Path, analyze: str) -> None:
    text = (repository / "systemd" / SERVICE).read_text().replace(UNITS[SERVICE], "/bin/true")
    copy = tmp_path / "cryobridge.service"
    copy.write_text(text.replace("ProtectHome=yes", "ProtectHomes=yes"))
    answer = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False)
    assert "ProtectHomes" in answer.stderr


def exposure(analyze: str, unit_file: Path) -> float:
    """systemd's own judgement of a unit, from 0 to 10."""
    answer = subprocess.run(
        [analyze, "security", "--offline=yes", str(unit_file)], capture_output=True, text=True, check=True
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", answer.stdout)
    assert found is not None
    return float(found[1])


def test_the_machines_service_is_hardly_exposed(repository: Path, tmp_path: Path, analyze: str) -> None:
    help_text = subprocess.run([analyze, "--help"], capture_output=True, text=True, check=True).stdout
    if "--offline" not in help_text:
        pytest.skip("this systemd-analyze cannot judge a unit file (needs systemd 250)")
    assert exposure(analyze, repository / "systemd" / SERVICE) <= MOST_EXPOSED
    bare = tmp_path / "cryobridge.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    assert exposure(analyze, bare) > 9


def test_the_users_that_files_are_given_to_are_made(repository: Path, tmp_path: Path) -> None:
    sysusers = shutil.which("systemd-sysusers")
    if sysusers is None:
        pytest.skip("systemd-sysusers is not installed")
    source = repository / "systemd/sysusers.d/cryobridge.conf"
    (tmp_path / "etc").mkdir()
    answer = subprocess.run([sysusers, f"--root={tmp_path}", str(source)], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    (entry,) = [line for line in (tmp_path / "etc/passwd").read_text().splitlines() if line.startswith("cryobridge:")]
    assert entry.split(":")[5:] == ["/var/lib/cryobridge", "/usr/sbin/nologin"]
    groups = (tmp_path / "etc/group").read_text()
    assert re.search(r"^video:.*:cryobridge$", groups, re.MULTILINE)


def variables(repository: Path) -> dict[str, str]:
    text = (repository / "systemd" / "cryosparc-agent.example.env").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_the_agents_unit_starts_the_agent_with_the_options_of_its_file(repository: Path) -> None:
    service = unit(repository, AGENT)["Service"]
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
    agent, daemon = unit(repository, AGENT), unit(repository)
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
