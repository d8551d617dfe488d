"""A daemon to talk to: the one the user named, their own, the facility's, or one started now."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from cryobridge import __version__
from cryobridge.schemas import wire
from cryobridge.schemas.frames import FrameInvalid
from cryobridge.schemas.messages import GREETING, Hello, Refused, Welcome

from .runlog import say

START_LIMIT_S = 20.0
_CONNECT_LIMIT_S = 2.0
_POLL_S = 0.03
# A rank of mpirun runs with one thread and with variables that would make the daemon an MPI process of its job.
_NOT_FOR_DAEMON = ("OMP_", "OMPI_", "PMIX_", "PMI_", "PRTE_", "OPAL_", "MPI_", "HYDRA_", "MKL_NUM", "OPENBLAS_NUM")


class NoDaemonError(Exception):
    """No daemon takes this call; the message says why."""


def connect(environment: Mapping[str, str], silence_s: float, label: str = "") -> tuple[wire.Channel, Welcome]:
    """Find or start a daemon and greet it; a start is told in RELION's log, of the call `label`, as it happens.

    Returns
    -------
    tuple
        The connection and the daemon's welcome (state "ready").

    Raises
    ------
    NoDaemonError
        If there is none, none can be started, or it does not take calls now.
    """
    candidates = wire.candidate_sockets(dict(environment))
    refusals: dict[Path, str] = {}
    for path in candidates:
        sock = _try(path, refusals)
        if sock is not None:
            return _greet(sock, silence_s)
    if candidates[0] in refusals:
        # Something is there and does not let us in; a second daemon on the same address would not help.
        raise NoDaemonError(refusals[candidates[0]])
    if environment.get("CRYOBRIDGE_SPAWN") == "0":
        raise NoDaemonError(f"no daemon listens on {candidates[0]}")
    return _greet(_start(candidates[0], environment, label), silence_s)


def _try(path: Path, refusals: dict[Path, str]) -> socket.socket | None:
    """Connect; None when nobody listens there."""
    try:
        sock = wire.connect(path, _CONNECT_LIMIT_S)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR}:
            refusals[path] = f"the daemon on {path} does not take connections ({error.strerror or error})"
        return None
    if not _is_trusted(path, sock):
        refusals[path] = f"the daemon on {path} runs as another user"
        sock.close()
        return None
    return sock


def _is_trusted(path: Path, sock: socket.socket) -> bool:
    """Anyone may make a folder in /tmp, so who listens at the user's own address must be the user (or root)."""
    if path != wire.user_socket_path():
        return True
    return wire.peer_uid(sock)[1] in {os.getuid(), 0}


def _greet(sock: socket.socket, silence_s: float) -> tuple[wire.Channel, Welcome]:
    channel = wire.Channel(sock)
    try:
        hello = Hello(protocol=wire.PROTOCOL, client="relion-hook", version=__version__, pid=os.getpid())
        channel.send(hello.as_message())
        frame = channel.receive(silence_s)
        frame.close()
        welcome = _welcome(frame.message)
    except TimeoutError as error:
        channel.close()
        raise NoDaemonError(f"the daemon did not answer within {silence_s:.0f} s") from error
    except wire.WireError as error:
        channel.close()
        raise NoDaemonError(f"the daemon hung up ({error})") from error
    except NoDaemonError:
        channel.close()
        raise
    return channel, welcome


def _welcome(message: wire.Message) -> Welcome:
    try:
        greeting = GREETING.decode(message)
    except FrameInvalid as error:
        raise NoDaemonError(
            f"the daemon is of another version ({error}; this hook {__version__}); restart it"
        ) from error
    if isinstance(greeting, Refused):
        raise NoDaemonError(f"the daemon refused ({greeting.text or greeting.code})")
    if greeting.protocol != wire.PROTOCOL:
        raise NoDaemonError(
            f"the daemon is of another version ({greeting.version}, this hook {__version__}); restart it"
        )
    if greeting.state != "ready":
        reason = f" ({greeting.reason})" if greeting.reason else ""
        raise NoDaemonError(f"the daemon is {greeting.state}{reason}")
    return greeting


def _start(path: Path, environment: Mapping[str, str], label: str) -> socket.socket:
    """Start a per-user daemon on `path`; of several hooks that try, one does and the others wait for it."""
    try:
        wire.private_folder(path.parent)
        lock = os.open(f"{path}.spawn-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NoDaemonError(f"no daemon can be started on {path} ({error.strerror or error})") from error
    deadline = time.monotonic() + START_LIMIT_S
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                sock = _try(path, {})
                if sock is not None:
                    return sock
                if time.monotonic() > deadline:
                    raise NoDaemonError(f"the daemon on {path} did not start within {START_LIMIT_S:.0f} s") from None
                time.sleep(_POLL_S)
        # The hook that held the lock before us may have succeeded in the meantime.
        return _try(path, {}) or _launch(path, environment, deadline, label)
    finally:
        os.close(lock)


def _launch(path: Path, environment: Mapping[str, str], deadline: float, label: str) -> socket.socket:
    # Imported here only: most calls find a daemon, and this import costs as much as all the others together.
    import subprocess

    began = time.monotonic()
    say("no daemon is running; starting one", label)
    log_path = f"{path}.log"
    command = [sys.executable, "-I", "-m", "cryobridge.bridge.daemon", "--autospawned", "--socket", str(path)]
    try:
        log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NoDaemonError(f"no daemon can be started ({log_path}: {error.strerror})") from error
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=daemon_environment(environment),
            start_new_session=True,
        )
    except OSError as error:
        raise NoDaemonError(f"no daemon can be started ({error.strerror})") from error
    finally:
        os.close(log)
    with contextlib.suppress(OSError):
        # mpirun ties a rank to one core; the daemon may use all that the machine (or its cgroup) gives.
        os.sched_setaffinity(process.pid, range(os.cpu_count() or 1))
    while time.monotonic() < deadline:
        sock = _try(path, {})
        if sock is not None:
            # It outlives this process on purpose, so nobody waits for it.
            process.returncode = 0
            say(f"the daemon has started ({time.monotonic() - began:.1f} s)", label)
            return sock
        if process.poll() is not None:
            raise NoDaemonError(f"the daemon ended at its start with status {process.returncode}; see {log_path}")
        time.sleep(_POLL_S)
    raise NoDaemonError(f"the daemon did not listen within {START_LIMIT_S:.0f} s; see {log_path}")


def daemon_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a daemon started by a rank of mpirun."""
    return {
        key: value
        for key, value in environment.items()
        if not key.startswith(_NOT_FOR_DAEMON) and key != "CRYOBRIDGE_SOCKET"
    }
