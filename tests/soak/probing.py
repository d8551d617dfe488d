"""Looks at the service from outside, again and again: how it says it is, what it takes of memory and descriptors."""

from __future__ import annotations

import contextlib
import time

import psutil

from cryobridge.schemas.errors import CryobridgeError
from cryobridge.schemas.requests import AskStatus

from . import bounds
from .history import HealthAnswer, Level
from .stage import Stage

EVERY_S = 1.0


def ask_health(stage: Stage) -> None:
    """Ask every second, on a new connection each time, until the run is over."""
    while not stage.over.wait(EVERY_S):
        stage.history.add(health(stage))


def health(stage: Stage) -> HealthAnswer:
    """One question and its answer."""
    began = time.monotonic()
    try:
        with stage.client(timeout_s=3 * bounds.HEALTH_S) as client:
            status = client.request(AskStatus())
    except (CryobridgeError, OSError) as error:
        return HealthAnswer(stage.history.now_s, time.monotonic() - began, error=str(error)[:300])
    seconds = time.monotonic() - began
    return HealthAnswer(stage.history.now_s, round(seconds, 3), degraded=bool(status["health"]["degraded"]))


def follow_processes(stage: Stage) -> None:
    """Note memory and descriptors of daemon and workers, until the run is over."""
    while not stage.over.wait(EVERY_S):
        for level in levels(stage):
            stage.history.add(level)


def levels(stage: Stage) -> list[Level]:
    """Memory and descriptors of daemon and workers now."""
    pid = stage.daemon_pid()
    found = [("worker", worker) for worker in stage.workers()]
    try:
        found += [("daemon", psutil.Process(pid))] if pid else []
    except psutil.Error:
        return []
    seen = []
    for role, process in found:
        with contextlib.suppress(psutil.Error), process.oneshot():
            memory = process.memory_info().rss / 1e6
            seen.append(Level(stage.history.now_s, role, process.pid, memory, process.num_fds(), process.num_threads()))
    return seen
