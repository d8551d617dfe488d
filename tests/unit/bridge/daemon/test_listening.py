"""The listening socket: one holder per address, stale files replaced, foreign folders refused, systemd's taken."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cryobridge.bridge.daemon.listening import (
    LONGEST_PATH,
    AlreadyRunning,
    ListeningSocket,
    passed_socket,
)
from cryobridge.schemas.errors import DaemonUnavailable


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because a socket's path may have 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="cb-"))
    yield path
    shutil.rmtree(path)


def reaches(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        return client.connect_ex(str(path)) == 0


def test_an_address_has_one_holder_at_a_time(folder: Path) -> None:
    first = ListeningSocket(folder / "s")
    with pytest.raises(AlreadyRunning):
        ListeningSocket(folder / "s")
    assert reaches(folder / "s")
    first.close()
    assert not (folder / "s").exists()
    ListeningSocket(folder / "s").close()


def test_what_a_dead_daemon_left_is_replaced(folder: Path) -> None:
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dead.bind(str(folder / "s"))
    dead.close()
    (folder / ".s.new").touch()
    listening = ListeningSocket(folder / "s", 0o660)
    assert reaches(folder / "s")
    assert (folder / "s").stat().st_mode & 0o777 == 0o660
    listening.close()


def test_a_socket_that_somebody_put_in_our_place_is_left_alone(folder: Path) -> None:
    listening = ListeningSocket(folder / "s")
    (folder / "s").unlink()
    other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    other.bind(str(folder / "s"))
    assert not listening.is_ours()
    listening.close()
    assert (folder / "s").exists()
    other.close()


def listen_for_another_program(path: Path) -> socket.socket:
    other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    other.bind(str(path))
    other.listen()
    return other


def bind_datagrams(path: Path) -> socket.socket:
    other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    other.bind(str(path))
    return other


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (lambda path: path.write_text("a map"), "is a file"),
        (lambda path: path.symlink_to("elsewhere"), "is a link"),
        (lambda path: os.mkfifo(path), "is a FIFO"),
        (lambda path: path.mkdir(), "is a folder"),
        (listen_for_another_program, "another program listens"),
        (bind_datagrams, "another program listens"),
    ],
    ids=["file", "link", "FIFO", "folder", "another's socket", "another's datagram socket"],
)
def test_what_is_no_dead_daemons_socket_is_left_as_it_is(folder: Path, put: Callable, words: str) -> None:
    kept = put(folder / "s")
    before = os.lstat(folder / "s")
    with pytest.raises(DaemonUnavailable, match=words):
        ListeningSocket(folder / "s")
    after = os.lstat(folder / "s")
    assert (after.st_ino, after.st_mode, after.st_size) == (before.st_ino, before.st_mode, before.st_size)
    if isinstance(kept, socket.socket):
        kept.close()


@pytest.mark.parametrize("over", [0, 1])
def test_the_longest_path_is_said_and_can_be_listened_on(folder: Path, over: int) -> None:
    path = folder / ("x" * (LONGEST_PATH - len(os.fsencode(folder)) - 1 + over))
    if over:
        with pytest.raises(DaemonUnavailable, match=f"at most {LONGEST_PATH}"):
            ListeningSocket(path)
        return
    listening = ListeningSocket(path)
    assert reaches(path)
    listening.close()


def test_a_user_folder_that_others_may_write_to_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    (folder / "cryobridge").mkdir()
    (folder / "cryobridge").chmod(0o777)
    with pytest.raises(DaemonUnavailable, match="choose another --socket"):
        ListeningSocket(folder / "cryobridge" / "socket")


def test_a_path_that_is_too_long_or_cannot_be_made_is_one_sentence(folder: Path) -> None:
    with pytest.raises(DaemonUnavailable):
        ListeningSocket(folder / ("x" * 120))
    (folder / "file").touch()
    with pytest.raises(DaemonUnavailable):
        ListeningSocket(folder / "file" / "s")


def test_a_failed_start_lets_the_lock_go(folder: Path) -> None:
    (folder / "s").mkdir()
    (folder / "s" / "full").touch()
    with pytest.raises(DaemonUnavailable):
        ListeningSocket(folder / "s")
    shutil.rmtree(folder / "s")
    ListeningSocket(folder / "s").close()


SERVE_PASSED = """
import os, socket, sys
if sys.argv[1] != "3":
    os.dup2(int(sys.argv[1]), 3)
from cryobridge.bridge.daemon.listening import ListeningSocket, passed_socket
os.environ["LISTEN_PID"] = str(os.getpid())
passed = passed_socket()
assert "LISTEN_FDS" not in os.environ
from pathlib import Path
listening = ListeningSocket(Path(passed.getsockname()), passed=passed)
print("listening", flush=True)
listening.sock.setblocking(True)
connection, _ = listening.sock.accept()
connection.sendall(b"hello")
listening.close()
"""


def test_a_socket_from_systemd_is_used_and_outlives_the_daemon(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as held:
        held.bind(str(folder / "s"))
        held.listen()
        daemon = subprocess.Popen(
            [sys.executable, "-c", SERVE_PASSED, str(held.fileno())],
            pass_fds=[held.fileno()],
            env={**os.environ, "LISTEN_FDS": "1"},
            stdout=subprocess.PIPE,
        )
        assert daemon.stdout.readline() == b"listening\n"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect(str(folder / "s"))
            assert client.recv(10) == b"hello"
        assert daemon.wait(5) == 0
        daemon.stdout.close()
        assert reaches(folder / "s")


def test_no_socket_is_taken_that_was_meant_for_another_process() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "HOME": "/"}
    assert passed_socket(environment) is None
    assert environment == {"HOME": "/"}
