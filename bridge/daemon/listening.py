"""The listening socket: one daemon per address, a stale socket replaced safely, nobody else's folder trusted.

The lock file beside the socket is held for the daemon's whole life and never removed: removing it would let two
daemons hold locks on two files of one name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from pathlib import Path

from cryobridge.schemas.errors import DaemonUnavailable
from cryobridge.schemas.wire import private_folder, user_socket_path

BACKLOG = 128
_FIRST_PASSED_FD = 3
_FRESH = ".new"
LONGEST_PATH = 107 - len("." + _FRESH)
"""In bytes: the kernel takes 107, and the socket is bound under a longer name first."""
_KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a link"), (stat.S_ISREG, "a file"), (stat.S_ISFIFO, "a FIFO"))


class AlreadyRunning(Exception):  # noqa: N818
    """Another daemon holds the lock of this address."""


class ListeningSocket:
    """An address that this daemon alone listens on.

    Parameters
    ----------
    path
        The socket's path.
    mode
        Its permissions.
    passed
        A socket that already listens there, from systemd; it outlives the daemon, so it is not removed.

    Raises
    ------
    AlreadyRunning
        If another daemon lives there.
    DaemonUnavailable
        If the folder is not to be trusted or cannot be written, the path is too long, or something is there that is
        not a dead daemon's socket.
    """

    def __init__(self, path: Path, mode: int = 0o600, passed: socket.socket | None = None) -> None:
        self.path = path
        self._passed = passed is not None
        if passed is None and len(os.fsencode(path)) > LONGEST_PATH:
            raise DaemonUnavailable(
                f"{path}: {len(os.fsencode(path))} bytes, and a socket's path has at most {LONGEST_PATH}; "
                "choose a shorter --socket"
            )
        try:
            if path == user_socket_path():
                private_folder(path.parent)
            else:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise DaemonUnavailable(f"{path.parent}: {error.strerror or error}; choose another --socket") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise AlreadyRunning(f"a daemon already listens on {path}") from None
        try:
            if passed is None:
                _check_replaceable(path)
            self.sock = passed or self._bind(mode)
            state = path.stat()
        except DaemonUnavailable:
            os.close(self._lock)
            raise
        except OSError as error:
            os.close(self._lock)
            raise DaemonUnavailable(f"{path}: {error.strerror or error}; choose another --socket") from error
        self._identity = (state.st_dev, state.st_ino)

    def _bind(self, mode: int) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Bound and listening under another name first: clients see the old socket or the new one, never a dead one.
        fresh = self.path.with_name(f".{self.path.name}{_FRESH}")
        try:
            fresh.unlink(missing_ok=True)
            sock.bind(str(fresh))
            fresh.chmod(mode)
            sock.listen(BACKLOG)
            sock.setblocking(False)
            fresh.replace(self.path)
        except OSError:
            sock.close()
            raise
        return sock

    def is_ours(self) -> bool:
        """Whether the path still leads to this socket."""
        with contextlib.suppress(OSError):
            state = self.path.stat()
            return (state.st_dev, state.st_ino) == self._identity
        return False

    def close(self) -> None:
        """Stop listening, remove the socket if this daemon made it, and let the lock go."""
        if not self._passed and self.is_ours():
            with contextlib.suppress(OSError):
                self.path.unlink()
        self.sock.close()
        os.close(self._lock)


def listen(path: Path, mode: int) -> ListeningSocket:
    """Listen where systemd does already, else at `path`.

    Raises
    ------
    AlreadyRunning, DaemonUnavailable
        As `ListeningSocket` does; also if systemd passed no listening Unix socket with a path.
    """
    try:
        passed = passed_socket()
        name = None if passed is None else passed.getsockname()
    except OSError as error:
        raise DaemonUnavailable(f"what systemd passed is no socket ({error.strerror or error})") from error
    if passed is None:
        return ListeningSocket(path, mode)
    if not isinstance(name, str) or not name:
        passed.close()
        raise DaemonUnavailable(f"systemd passed a socket at {name!r}; ListenStream must be a path")
    return ListeningSocket(Path(name), mode, passed)


def _check_replaceable(path: Path) -> None:
    """Nothing is there, or the socket of a daemon that is dead.

    Raises
    ------
    DaemonUnavailable
        If it is anything else, which a new socket would replace without a trace.
    """
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        what = next((name for check, name in _KINDS if check(kind)), "no socket")
        raise DaemonUnavailable(f"{path} is {what} and is left as it is; move it away, or choose another --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except OSError:
            pass  # a full backlog, or a socket of another kind: somebody is there
    raise DaemonUnavailable(f"another program listens on {path}; end it, or choose another --socket")


def passed_socket(environment: os._Environ[str] = os.environ) -> socket.socket | None:
    """The listening socket that systemd passed, or None; the variables are removed, so that no worker sees them."""
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit() or int(count) < 1:
        return None
    sock = socket.socket(fileno=_FIRST_PASSED_FD)
    os.set_inheritable(_FIRST_PASSED_FD, False)
    sock.setblocking(False)
    return sock
