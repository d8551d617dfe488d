"""What `cryobridge install` writes, what it leaves alone, and what it refuses."""

from __future__ import annotations

import fnmatch
import os
import sys
import tomllib
from pathlib import Path

import pytest

import cryobridge
from cryobridge.bridge import cli
from cryobridge.bridge.install import service_files as files
from cryobridge.bridge.install.service_files import SOURCES, Scope, hidden_parts, own_program, service_files
from cryobridge.bridge.install.writing import Deed, install_file
from cryobridge.schemas.config import DaemonConfig, load
from cryobridge.schemas.errors import CryobridgeError, InputInvalid

PROGRAM = Path("/opt/bridge-1/bin/cryobridge")
ENVIRONMENT = {"HOME": "/home/me"}


def written(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def put(scope: Scope, root: Path) -> list[Deed]:
    return [install_file(file) for file in service_files(scope, PROGRAM, root, ENVIRONMENT)]


def test_a_machine_gets_units_a_user_folders_and_a_configuration(tmp_path: Path) -> None:
    assert set(put(Scope.SYSTEM, tmp_path)) == {Deed.WRITTEN}
    found = written(tmp_path)
    assert set(found) == {
        "etc/systemd/system/cryobridge.service",
        "etc/systemd/system/cryobridge.socket",
        "etc/systemd/system/cryobridge-jobs@.service",
        "etc/sysusers.d/cryobridge.conf",
        "etc/tmpfiles.d/cryobridge.conf",
        "etc/cryobridge/config.yaml",
    }
    for unit in ("cryobridge.service", "cryobridge-jobs@.service"):
        assert f"{PROGRAM} serve" in found[f"etc/systemd/system/{unit}"]
    assert not any("/opt/cryobridge/bin" in text for text in found.values())
    config = load(tmp_path / "etc/cryobridge/config.yaml", environment={}).config
    assert config.state_dir == Path("/var/lib/cryobridge")


def test_a_user_gets_a_unit_and_a_configuration_that_changes_nothing(tmp_path: Path) -> None:
    put(Scope.USER, tmp_path)
    found = written(tmp_path)
    below = "home/me/.config"
    assert set(found) == {f"{below}/systemd/user/cryobridge.service", f"{below}/cryobridge/config.yaml"}
    assert (
        f"ExecStart={PROGRAM} serve --config %E/cryobridge/config.yaml"
        in found[f"{below}/systemd/user/cryobridge.service"]
    )
    assert load(tmp_path / below / "cryobridge/config.yaml", environment={}).config == DaemonConfig()


def test_files_are_for_all_to_read_whatever_the_umask_of_root(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        put(Scope.SYSTEM, tmp_path)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "etc").rglob("*") if path.is_file()} == {0o644}
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "etc").rglob("*") if path.is_dir()} == {0o755}


def test_a_configuration_that_is_there_stays_and_units_are_those_of_this_version(tmp_path: Path) -> None:
    put(Scope.SYSTEM, tmp_path)
    config, unit = tmp_path / "etc/cryobridge/config.yaml", tmp_path / "etc/systemd/system/cryobridge.service"
    config.write_text("state_dir: /data/cryobridge\n")
    new = unit.read_text()
    unit.write_text(new.replace(cryobridge.__version__, "0.0.1"))
    deeds = put(Scope.SYSTEM, tmp_path)
    assert (deeds.count(Deed.KEPT), deeds.count(Deed.REPLACED)) == (1, 1)
    assert config.read_text() == "state_dir: /data/cryobridge\n"
    assert unit.read_text() == new
    assert list(tmp_path.rglob("*.part")) == []


def test_a_unit_that_the_operator_has_masked_is_left_masked(tmp_path: Path) -> None:
    unit = tmp_path / "etc/systemd/system/cryobridge.service"
    unit.parent.mkdir(parents=True)
    unit.symlink_to("/dev/null")
    with pytest.raises(InputInvalid, match="is a link to /dev/null; remove it first"):
        put(Scope.SYSTEM, tmp_path)
    assert unit.is_symlink()


def test_a_file_that_cannot_be_written_is_told_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("no folder")
    with pytest.raises(CryobridgeError, match=r"cryobridge\.service: cannot be written"):
        put(Scope.SYSTEM, tmp_path)


@pytest.mark.parametrize("path", ["/opt/my programs/bin/cryobridge", "/opt/100%/cryobridge", "/opt/a'b/cryobridge"])
def test_a_path_that_a_unit_would_read_otherwise_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(InputInvalid, match="characters that a unit cannot hold"):
        service_files(Scope.SYSTEM, Path(path), tmp_path, ENVIRONMENT)


def test_every_file_that_is_written_comes_with_the_package(repository: Path) -> None:
    data = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "cryobridge"
    ]
    sources = [path for path in SOURCES.rglob("*") if path.is_file() and "cryosparc-agent" not in path.name]
    assert len(sources) == 8
    for path in sources:
        name = str(path.relative_to(SOURCES.parent))
        assert any(fnmatch.fnmatch(name, pattern) and name.count("/") == pattern.count("/") for pattern in data)


def test_a_program_in_a_home_folder_or_closed_to_others_is_none_for_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "HIDDEN_FROM_SERVICE", (tmp_path / "home",))
    monkeypatch.setattr(sys, "executable", "/bin/sh")
    monkeypatch.setattr(cryobridge, "__file__", "/bin/sh")
    for above in (tmp_path, *tmp_path.parents):
        if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
            above.chmod(0o755)
    for place in ("home", "opt"):
        (tmp_path / place).mkdir(mode=0o755)
        (tmp_path / place / "cryobridge").write_text("")
        (tmp_path / place / "cryobridge").chmod(0o755)
    fine, at_home = tmp_path / "opt/cryobridge", tmp_path / "home/cryobridge"
    assert hidden_parts(fine) == []
    assert hidden_parts(at_home) == [at_home]
    link = tmp_path / "opt/link"
    link.symlink_to(at_home)
    assert hidden_parts(link) == [link]
    (tmp_path / "opt").chmod(0o750)
    assert hidden_parts(fine) == [fine]


def test_the_command_says_each_file_then_what_to_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["install", "--system", "--root", str(tmp_path), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert f"write: {tmp_path}/etc/systemd/system/cryobridge.socket" in out
    assert "nothing was written" in out
    assert written(tmp_path) == {}
    assert cli.run(["install", "--system", "--root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    commands = [line.strip() for line in lines[lines.index("then type:") + 1 :]]
    assert commands == [
        "systemd-sysusers cryobridge.conf",
        "systemd-tmpfiles --create cryobridge.conf",
        "systemctl daemon-reload",
        "systemctl enable --now cryobridge.socket cryobridge.service",
        "cryobridge doctor",
    ]
    assert f"ExecStart={own_program()} serve" in written(tmp_path)["etc/systemd/system/cryobridge.service"]
    assert cli.run(["install", "--system", "--root", str(tmp_path)]) == 0
    assert "systemctl restart cryobridge.service" in capsys.readouterr().out


def test_it_is_to_be_said_for_whom(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["install"]) == 2
    assert "--system or --user" in capsys.readouterr().err


def test_only_root_installs_for_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.run(["install", "--system"]) == 1
    assert capsys.readouterr().err == (
        "cryobridge: only root can install for all users; use sudo, or --user for yourself\n"
    )


def test_a_machine_is_not_given_a_service_that_could_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(files, "HIDDEN_FROM_SERVICE", (Path("/"),))
    assert cli.run(["install", "--system"]) == 1
    assert "the service could not read" in capsys.readouterr().err
