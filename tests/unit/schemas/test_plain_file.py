"""Plain files: whatever lies under a name is read within a bound or refused, and never waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain, read_bounded, read_plain


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
