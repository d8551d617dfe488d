"""A worker whose work hangs, as in a read of a stuck file system, through a real daemon process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from support.daemon_process import DaemonProcess, call_both, wait_for

from .test_daemon_jobs import state, submit

pytestmark = pytest.mark.faults


@pytest.fixture
def daemon(make_daemon) -> DaemonProcess:
    """A running daemon that waits two seconds for a step."""
    return make_daemon(deadlines={"still_s": 2.0, "silence_s": 5.0}).start()


def problems(daemon: DaemonProcess) -> str:
    return " ".join(daemon.ask("status")["health"]["problems"])


def test_a_job_that_hangs_holds_up_no_call_and_is_failed_the_second_time(daemon: DaemonProcess, tmp_path: Path) -> None:
    pid = daemon.ready_worker()
    daemon.fake(hang_on="job")
    job_id = submit(daemon, tmp_path)
    wait_for(lambda: "made no step" in problems(daemon), 10)
    time.sleep(2.5)
    assert daemon.worker_pid() == pid
    assert state(daemon, job_id) == "running"

    began = time.monotonic()
    assert [hook.ended()[0] for hook in call_both(daemon, 1)] == ["commit", "commit"]
    assert time.monotonic() - began < 15
    assert not psutil.pid_exists(pid)

    wait_for(lambda: "made no step" in problems(daemon), 10)
    assert [hook.ended()[0] for hook in call_both(daemon, 2)] == ["commit", "commit"]
    reply = daemon.ask("wait", job_id=job_id, timeout_s=10)
    assert (reply["state"], reply["reason"]) == ("failed", "stalled")
    assert "made no step and computed nothing" in reply["text"]
    assert "(2 attempts)" in reply["text"]
    wait_for(lambda: not daemon.ask("status")["health"]["degraded"], 10)


def test_a_correction_that_hangs_gives_both_halves_their_standard_map(daemon: DaemonProcess) -> None:
    daemon.ready_worker()
    daemon.fake(hang_on="correct")
    hooks = call_both(daemon)
    assert [hook.ended() for hook in hooks] == [("answer", "worker_died")] * 2
    assert all(hook.seconds < 12 for hook in hooks)


def test_a_stopped_worker_with_a_job_is_replaced_and_the_call_behind_the_job_is_done(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    pid = daemon.ready_worker()
    daemon.fake(job_s=60)
    job_id = submit(daemon, tmp_path)
    wait_for(lambda: state(daemon, job_id) == "running")
    os.kill(pid, signal.SIGSTOP)
    daemon.fake()
    assert [hook.ended()[0] for hook in call_both(daemon)] == ["commit", "commit"]
    assert not psutil.pid_exists(pid)
