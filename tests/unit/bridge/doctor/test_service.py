"""The doctor finds what is wrong with an installed service, and says what to do."""

from __future__ import annotations

import os
import pwd
import socket
import tempfile
from pathlib import Path

import pytest

from cryobridge.bridge.doctor import service
from cryobridge.bridge.doctor.finding import Finding, Level
from cryobridge.bridge.doctor.permissions import may_open
from cryobridge.bridge.doctor.service import check_gpu_nodes, check_service, check_socket, check_state
from cryobridge.bridge.install.service_files import Scope, service_files
from cryobridge.bridge.install.writing import install_file

PROGRAM = Path("/opt/cryobridge/bin/cryobridge")
ENVIRONMENT = {"HOME": "/home/me"}
STRANGER = 4_000_001


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with the service installed, its program in place; everybody can enter the way to it."""
    for above in (tmp_path, *tmp_path.parents):
        if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
            above.chmod(0o755)
    program = tmp_path / PROGRAM.relative_to("/")
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return tmp_path


def installed(root: Path, scope: Scope = Scope.SYSTEM) -> Path:
    for file in service_files(scope, PROGRAM, root, ENVIRONMENT):
        install_file(file)
    return root


def found(root: Path, check: str) -> list[Finding]:
    return [one for one in check_service(ENVIRONMENT, root) if one.check == check]


def test_without_a_service_nothing_is_wrong(tmp_path: Path) -> None:
    (one,) = check_service(ENVIRONMENT, tmp_path)
    assert one.level is Level.OK
    assert "none is needed" in one.text


def test_units_of_this_version_are_fine_wherever_they_are(root: Path) -> None:
    installed(root)
    assert [one.level for one in found(root, "service")] == [Level.OK] * 3
    assert f"starts {PROGRAM}" in found(root, "service")[0].text
    packaged = root / "usr/lib/systemd/system"
    packaged.parent.mkdir(parents=True)
    (root / "etc/systemd/system").rename(packaged)
    assert [one.level for one in found(root, "service")] == [Level.OK] * 3


def test_a_users_unit_is_looked_at_too(root: Path) -> None:
    installed(root, Scope.USER)
    (one,) = check_service(ENVIRONMENT, root)
    assert one.level is Level.OK
    assert ".config/systemd/user/cryobridge.service is of this version" in one.text


def test_a_unit_of_another_version_is_to_be_written_again(root: Path) -> None:
    unit = installed(root) / "etc/systemd/system/cryobridge.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=60", "WatchdogSec=30"))
    bad = [one for one in found(root, "service") if one.level is not Level.OK]
    assert [(one.level, one.advice.split(",")[0]) for one in bad] == [(Level.WARN, "cryobridge install --system")]
    assert "cryobridge.service is not what this version writes" in bad[0].text


def test_a_unit_whose_program_was_moved_away_fails(root: Path) -> None:
    (installed(root) / PROGRAM.relative_to("/")).unlink()
    bad = [one for one in found(root, "service") if one.level is Level.FAIL]
    assert len(bad) == 2
    assert all(f"starts {PROGRAM}, which is no program here" in one.text for one in bad)


def test_a_masked_unit_is_told(root: Path) -> None:
    unit = installed(root) / "etc/systemd/system/cryobridge.socket"
    unit.unlink()
    unit.symlink_to("/dev/null")
    assert any("is a link to /dev/null" in one.text for one in found(root, "service") if one.level is Level.FAIL)


def test_a_service_without_its_user_is_told_how_to_make_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SERVICE_USER", "no-such-user")
    (one,) = found(installed(root), "service user")
    assert (one.level, one.advice) == (Level.FAIL, "systemd-sysusers cryobridge.conf")


def test_a_whole_installation_is_looked_at_to_its_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SERVICE_USER", pwd.getpwuid(os.getuid()).pw_name)
    (root / "var/lib/cryobridge").mkdir(parents=True)
    checks = [one.check for one in check_service(ENVIRONMENT, installed(root))]
    assert checks == ["service"] * 3 + ["service socket", "service state"]


@pytest.mark.parametrize(
    ("mode", "for_whom"),
    [(0o666, "everybody may connect"), (0o660, "group"), (0o600, "its owner alone may connect")],
)
def test_the_socket_tells_for_whom_it_is(mode: int, for_whom: str) -> None:
    with tempfile.TemporaryDirectory(prefix="cb-") as folder, socket.socket(socket.AF_UNIX) as sock:
        path = Path(folder) / "socket"
        sock.bind(str(path))
        path.chmod(mode)
        one = check_socket(path)
        assert one.level is Level.OK
        assert for_whom in one.text


def test_a_socket_that_this_user_may_not_use_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="cb-") as folder, socket.socket(socket.AF_UNIX) as sock:
        path = Path(folder) / "socket"
        sock.bind(str(path))
        path.chmod(0o660)
        # Root may always.
        monkeypatch.setattr(service.os, "access", lambda *_: False)
        one = check_socket(path)
    assert one.level is Level.WARN
    assert one.advice.startswith("usermod -aG ")


def test_no_socket_and_a_file_in_its_place_fail(tmp_path: Path) -> None:
    assert "enable --now cryobridge.socket" in check_socket(tmp_path / "socket").advice
    (tmp_path / "socket").write_text("")
    assert check_socket(tmp_path / "socket").text.endswith("is no socket")


def test_gpus_that_the_service_may_not_use_are_told_with_their_group(root: Path) -> None:
    devices = root / "dev"
    devices.mkdir()
    assert list(check_gpu_nodes(STRANGER, devices)) == []
    for name in ("nvidia0", "nvidiactl"):
        (devices / name).write_text("")
        (devices / name).chmod(0o666)
    (late,) = check_gpu_nodes(STRANGER, devices)
    assert late.level is Level.FAIL
    assert "nvidia-modprobe -c0 -u" in late.advice
    (devices / "nvidia-uvm").write_text("")
    (devices / "nvidia-uvm").chmod(0o666)
    (fine,) = check_gpu_nodes(STRANGER, devices)
    assert fine.level is Level.OK
    (devices / "nvidia0").chmod(0o660)
    (closed,) = check_gpu_nodes(STRANGER, devices)
    assert closed.level is Level.FAIL
    assert closed.text.endswith(f"may not use {devices / 'nvidia0'}")
    assert closed.advice.startswith("usermod -aG ")


def test_a_device_is_opened_by_whom_its_bits_let(root: Path) -> None:
    node = root / "node"
    node.write_text("")
    for mode, reads, writes in ((0o666, True, True), (0o664, True, False), (0o660, False, False)):
        node.chmod(mode)
        assert (may_open(STRANGER, node, os.R_OK), may_open(STRANGER, node, os.W_OK)) == (reads, writes)
    assert may_open(0, node, os.W_OK)
    assert not may_open(STRANGER, root / "gone", os.R_OK)


def test_a_state_folder_of_somebody_else_fails(root: Path) -> None:
    installed(root)
    (one,) = check_state(STRANGER, root)
    assert "is made at the first start" in one.text
    state = root / "var/lib/cryobridge"
    state.mkdir(parents=True)
    (one,) = check_state(STRANGER, root)
    assert (one.level, one.advice) == (Level.FAIL, "chown -R cryobridge: /var/lib/cryobridge")
    (one,) = check_state(state.stat().st_uid, root)
    assert one.level is Level.OK


def test_little_room_for_the_database_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = installed(root) / "var/lib/cryobridge"
    state.mkdir(parents=True)
    monkeypatch.setattr(service, "ENOUGH_STATE_BYTES", 10**18)
    (one,) = check_state(state.stat().st_uid, root)
    assert one.level is Level.WARN
    assert "MB left" in one.text


def test_a_configuration_with_a_mistake_fails_with_its_sentence(root: Path) -> None:
    (installed(root) / "etc/cryobridge/config.yaml").write_text("state_dri: /var/lib/cryobridge\n")
    (one,) = check_state(0, root)
    assert one.level is Level.FAIL
    assert "state_dir" in one.text
