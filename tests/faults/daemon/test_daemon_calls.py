"""Calls through a real daemon process: what hooks are told when workers, partners or the daemon fail."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest
from support.daemon_process import DaemonProcess, TestHook, call_both, wait_for

pytestmark = pytest.mark.faults


def test_both_halves_are_corrected_iteration_after_iteration(daemon: DaemonProcess) -> None:
    for iteration in (1, 2, 3):
        assert [hook.ended()[0] for hook in call_both(daemon, iteration)] == ["commit", "commit"]
    status = daemon.ask("status")
    assert status["sessions"][0]["corrected"] == 3
    assert status["queue"]["succeeded"] == 3
    assert status["last_fallback"] is None


def test_the_daemon_never_imports_torch(daemon: DaemonProcess) -> None:
    assert [hook.ended()[0] for hook in call_both(daemon)] == ["commit", "commit"]
    maps = Path(f"/proc/{daemon.process.pid}/maps").read_text()
    assert "sqlite" in maps
    assert "torch" not in maps


def test_calls_that_come_while_the_worker_starts_are_answered(make_daemon) -> None:
    daemon = make_daemon().start()
    assert [hook.ended()[0] for hook in call_both(daemon)] == ["commit", "commit"]


def test_a_correction_that_is_not_due_is_answered_without_the_other_half(daemon: DaemonProcess) -> None:
    daemon.fake(due=False)
    hook = TestHook(daemon, [1])
    hook.start()
    assert hook.ended() == ("answer", "not_due")


@pytest.mark.parametrize("at", ["half", "correct"])
def test_a_worker_that_dies_is_replaced_and_both_halves_hear_of_it(daemon: DaemonProcess, at: str) -> None:
    daemon.ready_worker()
    daemon.fake(die_on=at)
    ends = [hook.ended() for hook in call_both(daemon, 1)]
    assert {code for _, code in ends} == {"worker_died"}
    if at == "correct":
        assert {kind for kind, _ in ends} == {"answer"}
    daemon.fake()
    wait_for(lambda: daemon.ask("status")["workers"][0]["state"] == "ready")
    assert [hook.ended()[0] for hook in call_both(daemon, 2)] == ["commit", "commit"]
    status = daemon.ask("status")
    assert status["worker_restarts"] >= 1
    assert status["last_fallback"]["code"] == "worker_died"


def test_a_stopped_worker_is_killed_after_the_silence_limit_and_both_halves_fall_back(daemon: DaemonProcess) -> None:
    pid = daemon.ready_worker()
    daemon.fake(stop_on="correct")
    hooks = call_both(daemon)
    assert [hook.ended() for hook in hooks] == [("answer", "worker_died")] * 2
    assert all(hook.seconds < 5 for hook in hooks)
    wait_for(lambda: not psutil.pid_exists(pid))


def test_failures_of_the_correction_reach_both_halves_with_their_code(daemon: DaemonProcess) -> None:
    daemon.fake(fail_on={"correct": ["oom", "out of memory"]})
    assert [hook.ended() for hook in call_both(daemon)] == [("answer", "oom")] * 2


def test_a_worker_that_cannot_start_is_said_at_once(make_daemon) -> None:
    daemon = make_daemon()
    daemon.fake(exit_at_start=True)
    daemon.start()
    began = time.monotonic()
    assert [hook.ended() for hook in call_both(daemon)] == [("failed", "worker_died")] * 2
    assert time.monotonic() - began < 10
    text = daemon.ask("status")["workers"][0]["last_error"]
    assert "fake worker cannot start" in text


def test_the_other_half_missing_ends_with_the_standard_map(make_daemon) -> None:
    daemon = make_daemon(deadlines={"partner_s": 0.5}).start()
    hook = TestHook(daemon, [2])
    hook.start()
    assert hook.ended() == ("answer", "partner_missing")
    assert "waiting" in [message["type"] for message in hook.received]


def test_a_killed_hook_releases_the_other_and_its_work_is_cancelled(daemon: DaemonProcess) -> None:
    daemon.fake(correct_s=30)
    first, second = call_both(daemon)
    wait_for(lambda: any(one["halves"].get("1") == "correcting" for one in daemon.ask("ps")["processes"]))
    second.channel.sock.shutdown(2)
    assert first.ended() == ("answer", "partner_missing")
    pid = daemon.worker_pid()
    daemon.fake()
    assert [hook.ended()[0] for hook in call_both(daemon, 2)] == ["commit", "commit"]
    assert daemon.worker_pid() == pid


def test_a_worker_that_ignores_cancel_is_killed_in_the_end(daemon: DaemonProcess) -> None:
    pid = daemon.ready_worker()
    daemon.fake(correct_s=30, deaf=True)
    first, second = call_both(daemon)
    wait_for(lambda: any(one["halves"].get("1") == "correcting" for one in daemon.ask("ps")["processes"]))
    second.channel.sock.shutdown(2)
    first.ended()
    wait_for(lambda: not psutil.pid_exists(pid), 10)
    daemon.fake()
    daemon.ready_worker()
    assert [hook.ended()[0] for hook in call_both(daemon, 2)] == ["commit", "commit"]


def test_a_daemon_that_was_paused_does_not_blame_its_workers(daemon: DaemonProcess) -> None:
    pid = daemon.ready_worker()
    daemon.signal(signal.SIGSTOP)
    time.sleep(2.5)
    daemon.signal(signal.SIGCONT)
    time.sleep(0.6)
    assert daemon.worker_pid() == pid
    assert [hook.ended()[0] for hook in call_both(daemon)] == ["commit", "commit"]


def test_no_descriptor_is_left_behind(daemon: DaemonProcess) -> None:
    def descriptors() -> tuple[int, int]:
        worker = daemon.ready_worker()
        return len(os.listdir(f"/proc/{daemon.process.pid}/fd")), len(os.listdir(f"/proc/{worker}/fd"))

    for hook in call_both(daemon, 1):
        hook.ended()
    wait_for(lambda: daemon.ask("status")["clients"] == 1)
    before = min(descriptors() for _ in range(5))
    for iteration in range(2, 6):
        daemon.fake(**({"fail_on": {"correct": ["oom", "x"]}} if iteration % 2 else {}))
        for hook in call_both(daemon, iteration):
            hook.ended()
    # The connection that asks last may still be open on the daemon's side when it is counted.
    wait_for(lambda: descriptors() <= before)


@pytest.mark.slow
def test_a_daemon_killed_at_any_instant_leaves_hooks_that_know_it_and_starts_again(make_daemon) -> None:
    daemon = make_daemon()
    daemon.fake(half_s=0.05, correct_s=0.1)
    dice = random.Random(20)
    for iteration in range(1, 9):
        daemon.start()
        hooks = call_both(daemon, iteration)
        time.sleep(dice.uniform(0.0, 0.7))
        workers = psutil.Process(daemon.process.pid).children()
        daemon.signal(signal.SIGKILL)
        daemon.process.wait()
        for hook in hooks:
            hook.join(20)
            assert hook.ends or hook.lost
        ends = {hook.ends[0]["type"] if hook.ends else "lost" for hook in hooks}
        # A commit that one half has seen may have been on its way to the other: the verdict file settles that.
        assert ends in ({"commit"}, {"lost"}, {"commit", "lost"}, {"answer"}, {"answer", "lost"})
        for worker in workers:
            wait_for(lambda worker=worker: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    daemon.start()
    queue = daemon.ask("status")["queue"]
    assert queue["running"] == queue["interrupted"] == 0
    assert [hook.ended()[0] for hook in call_both(daemon, 99)] == ["commit", "commit"]
