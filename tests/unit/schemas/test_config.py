"""Configuration: sources in order, each value's origin known, mistakes named."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryobridge.schemas.config import DaemonConfig, load, settings
from cryobridge.schemas.errors import InputInvalid


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_defaults_need_nothing() -> None:
    loaded = load(environment={})
    assert loaded.config == DaemonConfig()
    assert set(loaded.origins.values()) == {"default"}


def test_environment_beats_file_and_command_line_beats_both(tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", "idle_exit_s: 1\nkeep_alive_s: 2\nlog_level: DEBUG\ndeadlines: {drain_s: 3}\n")
    loaded = load(
        file,
        {"CRYOBRIDGE_KEEP_ALIVE_S": "20", "CRYOBRIDGE_LOG_LEVEL": "ERROR", "CRYOBRIDGE_DEADLINES__CANCEL_S": "4"},
        {"log_level": "WARNING"},
    )
    config = loaded.config
    assert (config.idle_exit_s, config.keep_alive_s, config.log_level) == (1, 20, "WARNING")
    assert (config.deadlines.drain_s, config.deadlines.cancel_s) == (3, 4)
    assert loaded.origins["idle_exit_s"] == f"file {file}"
    assert loaded.origins["keep_alive_s"] == "environment CRYOBRIDGE_KEEP_ALIVE_S"
    assert loaded.origins["log_level"] == "command line"
    assert loaded.origins["deadlines.drain_s"] == f"file {file}"
    assert loaded.origins["deadlines.cancel_s"] == "environment CRYOBRIDGE_DEADLINES__CANCEL_S"
    assert loaded.origins["deadlines.silence_s"] == "default"


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", "idle_exit_s: 7\n")
    assert load(environment={"CRYOBRIDGE_CONFIG": str(file)}).config.idle_exit_s == 7


def test_variables_of_the_hook_and_of_refinements_are_no_mistake() -> None:
    assert load(environment={"CRYOBRIDGE_SPAWN": "0", "ISONET_ALPHA": "1"}).config == DaemonConfig()


def test_lists_can_come_from_one_variable() -> None:
    environment = {"CRYOBRIDGE_DEVICES": "cuda:0, cuda:1", "CRYOBRIDGE_WATCH_ROOTS": "/a:/b"}
    config = load(environment=environment).config
    assert config.devices == ["cuda:0", "cuda:1"]
    assert config.watch_roots == [Path("/a"), Path("/b")]


@pytest.mark.parametrize(
    ("text", "operators"),
    [("operators: em-staff", ["em-staff"]), ("operators: [em-staff, bob]", ["em-staff", "bob"]), ("", [])],
)
def test_operators_are_one_name_or_several(tmp_path: Path, text: str, operators: list[str]) -> None:
    assert load(write(tmp_path / "c.yaml", text), {}).config.operators == operators
    assert load(environment={"CRYOBRIDGE_OPERATORS": "auto, bob"}).config.operators == ["auto", "bob"]


def test_settings_are_told_under_dotted_names_with_their_origins(tmp_path: Path) -> None:
    told = settings(load(write(tmp_path / "c.yaml", "limits: {calls: 3}\n"), {}))
    assert told["limits.calls"] == {"value": 3, "origin": f"file {tmp_path}/c.yaml"}
    assert told["metrics_file"] == {"value": None, "origin": "default"}
    assert "limits" not in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keep_alive: 3", "did you mean 'keep_alive_s'"),
        ("deadlines: {drain: 3}", "did you mean 'deadlines.drain_s'"),
        ("deadlines: {drain_s: -3}", "deadlines.drain_s"),
        ("socket_mode: rw", "socket_mode"),
        ("limits: {calls: many}", "limits.calls"),
        ("- 1\n- 2", "key: value"),
        ("a: [", "not YAML"),
        ("idle_exit_s: .nan", "idle_exit_s"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    file = write(tmp_path / "c.yaml", text)
    with pytest.raises(InputInvalid) as caught:
        load(file, {})
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_mistake_in_a_variable_names_the_variable() -> None:
    with pytest.raises(InputInvalid, match="CRYOBRIDGE_IDLE_EXIT_S"):
        load(environment={"CRYOBRIDGE_IDLE_EXIT_S": "soon"})


def test_a_missing_or_huge_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="cannot be read"):
        load(tmp_path / "absent.yaml", {})
    with pytest.raises(InputInvalid, match="larger than"):
        load(write(tmp_path / "huge.yaml", "#" * 300_000), {})


def test_every_daemon_has_its_own_state_folder() -> None:
    environment = {"XDG_STATE_HOME": "/state", "HOME": "/home/me"}
    own = DaemonConfig().state_path(environment)
    assert own.parent == Path("/state/cryobridge")
    other = DaemonConfig(socket=Path("/tmp/x/socket")).state_path(environment)
    assert other == Path("/tmp/x/socket.state")
    assert DaemonConfig(state_dir=Path("/var/lib/cryobridge")).state_path(environment) == Path("/var/lib/cryobridge")


def test_an_autospawned_daemon_on_the_users_own_socket_shares_the_users_state_folder(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": "/state", "XDG_RUNTIME_DIR": str(tmp_path)}
    named = DaemonConfig(socket=tmp_path / "cryobridge" / "socket")
    assert named.state_path(environment) == DaemonConfig().state_path(environment)
