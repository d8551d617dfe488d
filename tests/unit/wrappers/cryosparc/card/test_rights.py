"""What a job leaves gets the rights of its card's folder: CryoSPARC is another user."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cryobridge.wrappers.cryosparc.card.rights import share


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A card's folder with a result in it, made as the daemon makes it."""
    folder = tmp_path / "J2"
    (folder / "cryobridge" / "deeper").mkdir(parents=True)
    for path, bits in (("cryobridge", 0o700), ("cryobridge/deeper", 0o700)):
        (folder / path).chmod(bits)
    for name in ("map.mrc", "deeper/fsc.csv"):
        path = folder / "cryobridge" / name
        path.write_bytes(b"1")
        path.chmod(0o600)
    return folder


@pytest.mark.parametrize(
    ("of_job", "folders", "files"),
    [(0o755, 0o755, 0o644), (0o775, 0o775, 0o664), (0o750, 0o750, 0o640), (0o700, 0o700, 0o600)],
)
def test_others_may_what_the_cards_folder_lets_them(job: Path, of_job: int, folders: int, files: int) -> None:
    job.chmod(of_job)
    assert share(job / "cryobridge", job) == []
    assert {mode(job / "cryobridge"), mode(job / "cryobridge/deeper")} == {folders}
    assert {mode(job / "cryobridge/map.mrc"), mode(job / "cryobridge/deeper/fsc.csv")} == {files}


def test_a_link_is_left_and_so_is_what_it_leads_to(job: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"1")
    secret.chmod(0o600)
    (job / "cryobridge" / "link").symlink_to(secret)
    (job / "cryobridge" / "folder").symlink_to(tmp_path)
    job.chmod(0o777)
    share(job / "cryobridge", job)
    assert mode(secret) == 0o600


def test_a_link_in_the_place_of_the_whole_folder_is_left_too(job: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "key").write_bytes(b"1")
    (private / "key").chmod(0o600)
    (job / "linked").symlink_to(private)
    job.chmod(0o777)
    share(job / "linked", job)
    assert (mode(private), mode(private / "key")) == (0o700, 0o600)


def test_the_group_is_that_of_the_cards_folder(job: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root may give files to any group")
    os.chown(job, -1, 4_000_001)
    share(job / "cryobridge", job)
    assert (job / "cryobridge/map.mrc").stat().st_gid == 4_000_001


def test_what_belongs_to_another_is_told(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise PermissionError

    job.chmod(0o755)
    monkeypatch.setattr(os, "fchmod", refuses)
    assert job / "cryobridge/map.mrc" in share(job / "cryobridge", job)
