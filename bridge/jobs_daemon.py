"""The daemon that takes this user's jobs: the one that answers if it is the user's, else one beside it.

A daemon of another user could not use this user's files as the user can; it lends its devices to the user's own
(`bridge.leases`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cryobridge.schemas import wire
from cryobridge.schemas.errors import DaemonUnavailable, InputInvalid
from cryobridge.schemas.requests import WaitForJob
from cryobridge.wrappers.relion.hook.daemon import daemon_environment

from .client import DaemonClient

START_LIMIT_S = 20.0
_POLL_S = 0.05


def daemon_for_jobs(environment: Mapping[str, str] | None = None) -> DaemonClient:
    """Connect to the daemon that takes this user's jobs; started beside another user's where there is none yet.

    Raises
    ------
    DaemonUnavailable
        If no daemon runs at all, or one cannot be started.
    """
    environment = os.environ if environment is None else environment
    answers = DaemonClient.connect(environment)
    if answers.uid == os.getuid():
        return answers
    answers.close()
    return _running(environment) or _started(environment, answers.path)


@contextmanager
def daemons_of_mine(environment: Mapping[str, str] | None = None) -> Iterator[list[DaemonClient]]:
    """All daemons that may know something of this user's, the one that answers first; nothing is started.

    Raises
    ------
    DaemonUnavailable
        If there is none.
    """
    environment = os.environ if environment is None else environment
    answers = DaemonClient.connect(environment)
    beside = None if answers.uid == os.getuid() else _running(environment)
    clients = [answers] if beside is None else [beside, answers]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


@contextmanager
def daemon_of(job_id: str, environment: Mapping[str, str] | None = None) -> Iterator[DaemonClient]:
    """Connect to the daemon that has a job of this user's, or a call of his refinement.

    Raises
    ------
    InputInvalid
        If none of them knows it.
    DaemonUnavailable
        If there is none.
    """
    with daemons_of_mine(environment) as clients:
        for client in clients[:-1]:
            try:
                client.request(WaitForJob(job_id=job_id, timeout_s=0.0))
            except InputInvalid:
                continue
            yield client
            return
        yield clients[-1]


def _running(environment: Mapping[str, str]) -> DaemonClient | None:
    """The user's own daemon for jobs, if it runs.

    Raises
    ------
    DaemonUnavailable
        If somebody else listens at its address.
    """
    path = wire.user_jobs_socket_path(dict(environment))
    try:
        client = DaemonClient.connect({"CRYOBRIDGE_SOCKET": str(path)})
    except DaemonUnavailable:
        return None
    if client.uid != os.getuid():
        client.close()
        raise DaemonUnavailable(
            f"the daemon at {path} is another user's and takes no jobs of yours; set XDG_RUNTIME_DIR"
        )
    return client


def _started(environment: Mapping[str, str], landlord: Path) -> DaemonClient:
    """Start the user's own daemon for jobs; of several that are started at once all but one leave by themselves."""
    path = wire.user_jobs_socket_path(dict(environment))
    log_path = path.with_name("jobs.log")
    try:
        wire.private_folder(path.parent)
        log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise DaemonUnavailable(f"no daemon for your jobs can be started ({log_path}: {error.strerror})") from error
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "cryobridge.bridge.daemon", "--autospawned", "--jobs-only"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**daemon_environment(environment), "CRYOBRIDGE_LANDLORD": str(landlord)},
            start_new_session=True,
        )
    except OSError as error:
        raise DaemonUnavailable(f"no daemon for your jobs can be started ({error.strerror})") from error
    finally:
        os.close(log)
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end:
        if (client := _running(environment)) is not None:
            # It outlives this process on purpose, so nobody waits for it.
            process.returncode = 0
            return client
        if process.poll() not in (None, 0):
            break
        time.sleep(_POLL_S)
    raise DaemonUnavailable(f"the daemon for your jobs did not start; see {log_path}")
