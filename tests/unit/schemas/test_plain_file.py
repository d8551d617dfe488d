"""Plain files: whatever lies under a name is read within a bound or refused, and never waited for."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cryobridge.bridge.worker.jobs.pretrained import read_network
from cryobridge.schemas import job as job_module
from cryobridge.schemas.config import load as load_config
from cryobridge.schemas.errors import CryobridgeError, InputInvalid
from cryobridge.schemas.jobfile import load_job
from cryobridge.schemas.paths import InputPath, Must
from cryobridge.schemas.plain_file import open_plain, read_bounded, read_plain
from cryobridge.wrappers.formats import mrc, star
from cryobridge.wrappers.formats.mrc_label import write_label
from cryobridge.wrappers.formats.particles import read_views
from cryobridge.wrappers.formats.torch_archive import read_named_tensors
from cryobridge.wrappers.formats.whole_file import whole_file
from cryobridge.wrappers.relion.hook.verdict import decide


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


ODD: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "socket": _socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "huge": lambda path: path.touch() or os.truncate(path, 1 << 33),
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("sort", ODD)
def test_what_is_no_small_plain_file_is_refused_at_once(tmp_path: Path, sort: str) -> None:
    path = tmp_path / "x"
    ODD[sort](path)
    with pytest.raises(OSError, match=r"."):
        read_plain(path, 1000)
    with pytest.raises(InputInvalid):
        read_bounded(path, 1000)
    if sort != "huge":
        for flags in (os.O_WRONLY | os.O_APPEND | os.O_CREAT, os.O_RDWR | os.O_CREAT):
            with pytest.raises(OSError, match=r"."):
                open_plain(path, flags)


def test_a_plain_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert read_plain(tmp_path / "x", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_plain(tmp_path / "x", 4)


def test_links_are_followed_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("x")
    assert read_plain(tmp_path / "link", 5) == b"12345"
    with pytest.raises(OSError, match=r"."):
        read_plain(tmp_path / "link", 5, os.O_RDONLY | os.O_NOFOLLOW)


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_a_file_that_is_made_has_the_mode_that_the_umask_leaves(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        os.close(open_plain(tmp_path / "x", os.O_WRONLY | os.O_CREAT))
        with whole_file(tmp_path / "y"):
            pass
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "xy"] == [mode, mode]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", [os.mkfifo, _socket, lambda path: path.symlink_to("/dev/zero")])
def test_every_reader_of_foreign_files_refuses_what_is_none(tmp_path: Path, kind: Callable[[Path], object]) -> None:
    path = tmp_path / "x"
    kind(path)
    for read in (
        lambda: load_config(path, {}),
        lambda: load_job(path),
        lambda: mrc.read(path),
        lambda: star.read(path),
        lambda: read_views(path),
        lambda: read_named_tensors(path, "x"),
        lambda: read_network(path),
    ):
        with pytest.raises(InputInvalid):
            read()
    with pytest.raises(CryobridgeError):
        write_label(path, "x")
    if not path.is_symlink():  # the target of a link is the decision, and is not opened
        with pytest.raises(OSError, match=r"."):
            decide(str(path), "standard")


@pytest.mark.timeout(10)
def test_a_pipe_put_in_a_files_place_while_it_is_checked_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_file = Path.is_file

    def swapped(path: Path) -> bool:
        found = is_file(path)
        path.unlink()
        os.mkfifo(path)
        return found

    (tmp_path / "x").touch()
    monkeypatch.setattr(Path, "is_file", swapped)
    with pytest.raises(OSError, match="not a plain file"):
        job_module._check_path(InputPath("half1", tmp_path / "x", Must.BE_FILE))
