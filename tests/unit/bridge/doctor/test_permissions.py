"""Whether the daemon's user may use a folder, and whether what he makes can be read by others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cryobridge.bridge.doctor import cryosparc_project
from cryobridge.bridge.doctor.cryosparc_project import check_daemon_may
from cryobridge.bridge.doctor.daemon_user import DaemonUser, hides_from, user_of
from cryobridge.bridge.doctor.finding import Level
from cryobridge.bridge.doctor.permissions import may

STRANGER = 4_000_001


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that everybody can enter the way to."""
    folder = tmp_path / "project"
    folder.mkdir()
    for above in (folder, *folder.parents):
        if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
            above.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("mode", "reads", "writes"),
    [(0o777, True, True), (0o755, True, False), (0o733, False, True), (0o770, False, False)],
)
def test_a_stranger_may_what_all_may(open_folder: Path, mode: int, reads: bool, writes: bool) -> None:
    open_folder.chmod(mode)
    assert (may(STRANGER, open_folder, os.R_OK), may(STRANGER, open_folder, os.W_OK)) == (reads, writes)


def test_a_folder_on_the_way_that_cannot_be_entered_ends_it(open_folder: Path) -> None:
    inner = open_folder / "inner"
    inner.mkdir(mode=0o777)
    inner.chmod(0o777)
    assert may(STRANGER, inner, os.R_OK)
    open_folder.chmod(0o750)
    assert not may(STRANGER, inner, os.R_OK)
    assert may(0, inner, os.R_OK)
    assert not may(STRANGER, open_folder / "gone", os.R_OK)


def test_the_owners_own_bits_count_for_the_owner(open_folder: Path) -> None:
    open_folder.chmod(0o577)
    owner = open_folder.stat().st_uid
    if owner != 0:
        assert not may(owner, open_folder, os.W_OK)


def test_a_process_tells_its_user_and_its_mask() -> None:
    code = "import os, sys; os.umask(0o027); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert user_of(process.pid) == DaemonUser(os.getuid(), 0o027)
        process.communicate(b"")
    assert user_of(2**22 + 5) is None


@pytest.mark.parametrize(("umask", "hidden"), [(0o077, True), (0o027, False), (0o022, False), (0o072, False)])
def test_a_mask_that_leaves_nothing_hides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int, hidden: bool
) -> None:
    real = Path.stat

    def of_another(path: Path, **how: bool) -> os.stat_result:
        values = list(real(path, **how))
        values[4] = 990
        return os.stat_result(values)

    monkeypatch.setattr(Path, "stat", of_another)
    assert hides_from(DaemonUser(STRANGER, umask), tmp_path) is hidden
    assert not hides_from(DaemonUser(990, 0o077), tmp_path)
    assert not hides_from(DaemonUser(STRANGER, 0o077), tmp_path / "gone")


def test_a_daemon_of_another_user_is_looked_at(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = DaemonUser(STRANGER, 0o022)
    assert list(check_daemon_may("project", open_folder, DaemonUser(os.getuid(), 0o077))) == []
    assert list(check_daemon_may("project", open_folder, None)) == []
    open_folder.chmod(0o755)
    (found,) = check_daemon_may("project", open_folder, stranger)
    assert (found.level, "may not write into" in found.text) == (Level.WARN, True)
    open_folder.chmod(0o777)
    monkeypatch.setattr(cryosparc_project.os, "getuid", lambda: 1000)
    (found,) = check_daemon_may("project", open_folder, stranger)
    assert found.level is Level.OK
    assert found.advice.endswith(f"job_roots: [{open_folder}]")
    monkeypatch.setattr(cryosparc_project, "hides_from", lambda *_: True)
    (found,) = check_daemon_may("project", open_folder, stranger)
    assert (found.level, "could not be read by CryoSPARC's user" in found.text) == (Level.WARN, True)
