"""A real daemon tells what happens: in order, numbered, to each what is his, to slow ones no more than they take."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.daemon_process import DaemonProcess, call_both, wait_for

from cryobridge.schemas.news import Board, NewsEvent, NewsTable, Snapshot
from cryobridge.schemas.requests import TO_COMMAND
from cryobridge.schemas.wire import Channel

pytestmark = pytest.mark.faults
STRANGER = 54321


class Following:
    """A connection that follows; `events` is what was told since the snapshot."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.board = Board()
        self.events: list[NewsEvent] = []
        channel.receive(10)
        channel.send({"type": "follow"})
        self.until(lambda: self.board.number > 0)

    def until(self, reached: Callable[[], bool], limit_s: float = 20.0) -> None:
        end = time.monotonic() + limit_s
        while not reached():
            assert time.monotonic() < end, [event.what for event in self.events]
            told = TO_COMMAND.decode(self.channel.receive(10).message)
            if isinstance(told, Snapshot | NewsEvent):
                self.board.take(told)
            if isinstance(told, NewsEvent):
                self.events.append(told)

    def what(self, table: NewsTable) -> list[str]:
        return [event.what for event in self.events if event.table == table]


def follow(daemon: DaemonProcess) -> Following:
    return Following(daemon.connect())


def submit(daemon: DaemonProcess, folder: Path, name: str = "out") -> str:
    for half in ("a.mrc", "b.mrc"):
        (folder / half).touch()
    inputs = {"half1": str(folder / "a.mrc"), "half2": str(folder / "b.mrc")}
    spec = {"schema": "cryobridge/job/1", "kind": "map.fsc3d", "inputs": inputs, "output": str(folder / name)}
    return daemon.ask("submit", spec=spec)["job_id"]


def commanded(daemon: DaemonProcess, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "cryobridge.bridge.cli", *arguments]
    environment = {**os.environ, "CRYOBRIDGE_SOCKET": str(daemon.socket)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def answer(daemon: DaemonProcess, *arguments: str) -> tuple[int, str]:
    process = commanded(daemon, *arguments)
    output, _ = process.communicate(timeout=30)
    return process.returncode, output


def test_jobs_and_calls_are_told_in_order_and_what_was_told_is_the_next_snapshot(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    daemon.ready_worker()
    daemon.fake(job_s=0.6, correct_s=0.3)
    following = follow(daemon)
    jobs = [submit(daemon, tmp_path, f"out{number}") for number in range(2)]
    hooks = call_both(daemon)
    assert [hook.ended()[0] for hook in hooks] == ["commit", "commit"]
    following.until(lambda: sum(event.what == "job_ended" for event in following.events) == 2)
    following.until(lambda: following.board.row(NewsTable.COUNTS, "jobs").get("succeeded") == 3)
    for job in jobs:
        told = [event for event in following.events if event.name == job]
        whats = [event.what for event in told if event.what not in ("job_progress", "job_noted")]
        assert whats == ["job_queued", "job_started", "job_ended"]
        assert (told[-1].row["state"], told[-1].gone) == ("succeeded", True)
        assert {"text": "working", "fraction": 0.5} in [event.row["progress"] for event in told]
        assert "worker-0" in [event.row["worker"] for event in told]
    calls = following.what(NewsTable.CALLS)
    assert (calls[0], calls[-1]) == ("call_began", "call_corrected")
    numbers = [event.number for event in following.events]
    assert numbers == list(range(2, len(numbers) + 2))
    # Told a moment later: the hooks have left, and the worker is idle.
    following.until(lambda: not following.board.row(NewsTable.COUNTS, "open")["calls"])
    following.until(lambda: not following.board.row(NewsTable.WORKERS, "worker-0")["busy"])
    other = follow(daemon)
    following.until(lambda: other.board.tables == following.board.tables)
    assert other.board.row(NewsTable.COUNTS, "calls") == {"corrected": 1, "standard": 0, "fallback": 0}


def test_a_worker_that_dies_and_a_drain_are_told_and_counted(daemon: DaemonProcess, tmp_path: Path) -> None:
    following = follow(daemon)
    following.until(lambda: "worker_ready" in following.what(NewsTable.WORKERS))
    os.kill(daemon.worker_pid(), signal.SIGKILL)
    following.until(lambda: following.what(NewsTable.WORKERS).count("worker_ready") == 2)
    whats = [what for what in following.what(NewsTable.WORKERS) if what != "worker_changed"]
    assert whats[-3:] == ["worker_ended", "worker_started", "worker_ready"]
    assert "health_changed" in following.what(NewsTable.HEALTH)
    assert answer(daemon, "ready") == (0, "ready\n")
    assert answer(daemon, "drain", "--json")[0] == 0
    following.until(lambda: following.board.row(NewsTable.DAEMON, "daemon")["state"] == "draining")
    code, words = answer(daemon, "ready")
    assert (code, words.startswith("not ready: the daemon is draining")) == (4, True)
    assert answer(daemon, "live") == (0, "live\n")
    assert answer(daemon, "resume")[0] == 0
    following.until(lambda: following.board.row(NewsTable.DAEMON, "daemon")["state"] == "ready")
    assert [hook.ended()[0] for hook in call_both(daemon)] == ["commit", "commit"]
    code, text = answer(daemon, "metrics")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert code == 0
    assert found["cryobridge_worker_restarts_total", "cpu"] == 1
    assert found["cryobridge_calls_total", "corrected", "corrected"] == 1
    assert found["cryobridge_ready",] == 1


def test_the_log_of_a_job_is_followed_to_its_end_and_top_prints_json_lines(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    daemon.ready_worker()
    daemon.fake(job_s=1.5)
    top = commanded(daemon, "top", "--json")
    assert json.loads(top.stdout.readline())["type"] == "snapshot"
    job_id = submit(daemon, tmp_path)
    code, log = answer(daemon, "logs", "-f", job_id)
    assert code == 0
    assert [line.split()[2] for line in log.splitlines()] == ["queued", "running", "progress", "succeeded"]
    lines = [json.loads(top.stdout.readline())]
    while lines[-1]["what"] != "job_ended":
        lines.append(json.loads(top.stdout.readline()))
    # As in `cryobridge top --json | head`: who reads has gone.
    top.stdout.close()
    submit(daemon, tmp_path, "another")
    assert top.wait(20) == 0
    code, page = answer(daemon, "top")
    assert code == 0
    assert "DEVICE" in page
    assert "RUNNING" in page


@pytest.mark.skipif(os.geteuid() != 0, reason="another user can only be played by root")
def test_another_user_is_told_counts_and_nothing_of_whose_or_what(make_daemon: Any, tmp_path: Path) -> None:
    daemon = make_daemon(socket_mode="0666").start()
    daemon.folder.chmod(0o711)
    daemon.ready_worker()
    daemon.fake(job_s=0.5, fail_on={"correct": ["oom", f"no memory for {tmp_path}/secret.mrc"]})
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(STRANGER)
            os.setuid(STRANGER)
            heard = _heard_by_a_stranger(daemon)
            with os.fdopen(writing, "w") as stream:
                json.dump(heard, stream)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    job_id = submit(daemon, tmp_path)
    hooks = call_both(daemon)
    assert [hook.ended() for hook in hooks] == [("answer", "oom")] * 2
    wait_for(lambda: daemon.ask("wait", job_id=job_id, timeout_s=0)["state"] == "succeeded")
    os.kill(daemon.worker_pid(), signal.SIGKILL)
    with os.fdopen(reading) as stream:
        heard = json.load(stream)
    assert os.waitpid(child, 0)[1] == 0
    text = json.dumps(heard)
    for word in (
        str(tmp_path),
        str(daemon.folder),
        "secret",
        job_id,
        "run_it",
        "last words",
        "SIGKILL",
        '"uid"',
        "pid",
    ):
        assert word not in text, word
    events = heard["events"]
    assert {event["table"] for event in events} <= {"counts", "workers", "health"}
    assert [event["number"] for event in events] == list(range(2, len(events) + 2))
    assert "a worker restarts" in text
    assert heard["status"]["queue"]["succeeded"] == 1
    assert heard["refused"] == dict.fromkeys(
        ("logs", "cancel", "drain", "resume", "stop", "config", "release"), "error"
    )


def _heard_by_a_stranger(daemon: DaemonProcess) -> dict[str, Any]:
    """In a process of another user: all that the daemon tells him, and what it lets him do."""
    following = follow(daemon)
    following.until(lambda: any(event.table == "health" for event in following.events), 60)
    following.until(lambda: following.events[-1].what == "worker_ready", 60)
    asked = {
        "logs": {"job_id": "0" * 12},
        "cancel": {"job_id": "0" * 12},
        "release": {"session": f"{daemon.folder}/run"},
        **{kind: {} for kind in ("drain", "resume", "stop", "config")},
    }
    return {
        "events": [event.as_message() for event in following.events],
        "board": following.board.tables,
        "status": daemon.ask("status"),
        "ps": daemon.ask("ps"),
        "jobs": daemon.ask("jobs"),
        "metrics": daemon.ask("metrics"),
        "refused": {kind: daemon.ask(kind, **fields)["type"] for kind, fields in asked.items()},
    }


def test_the_figures_are_in_their_file_while_the_daemon_runs_and_not_after_it(make_daemon: Any, tmp_path: Path) -> None:
    path = tmp_path / "cryobridge.prom"
    daemon = make_daemon(metrics_file=str(path)).start()
    wait_for(path.exists)
    assert "cryobridge_up 1.0" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644
    daemon.ask("stop")
    assert daemon.process.wait(10) == 0
    assert not path.exists()


def test_operators_that_do_not_exist_are_a_mistake_in_the_configuration(make_daemon: Any) -> None:
    daemon = make_daemon(operators="no-such-group")
    assert daemon.launch().wait(15) == 2
    assert daemon.output() == (
        "cryobridge: operators: there is no group or user 'no-such-group' on this machine; "
        "make it, or correct the setting\n"
    )


def test_the_configuration_in_force_is_shown_with_its_origins(make_daemon: Any) -> None:
    daemon = make_daemon(limits={"jobs": 7}).start()
    code, text = answer(daemon, "config", "show", "--running", "--json")
    settings = json.loads(text)
    assert code == 0
    assert settings["limits.jobs"] == {"value": 7, "origin": f"file {daemon.folder}/config.yaml"}
    assert settings["socket"] == {"value": str(daemon.socket), "origin": "command line"}
    assert settings["limits.calls"]["origin"] == "default"
