"""Ctrl-C in real processes, at several moments: one line, exit 130, no child left, nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from support.correction_job import correction_job
from support.scripted_daemon import ScriptedDaemon, scripted_daemon

from cryobridge.schemas.news import Snapshot

COMMAND = [sys.executable, "-m", "cryobridge.bridge.cli"]
PATIENCE_S = 60.0


@pytest.fixture
def half_maps(tmp_path: Path) -> list[str]:
    correction_job(tmp_path)
    return [str(tmp_path / name) for name in ("half1.mrc", "half2.mrc")]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedDaemon]:
    path = tmp_path / "socket"
    monkeypatch.setenv("CRYOBRIDGE_SOCKET", str(path))
    with scripted_daemon(path) as running:
        yield running


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts commands, each in a session of its own; none outlives its test.

    What a shell starts in the background ignores Ctrl-C, and hands that on: here it is as in a terminal.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    running: list[subprocess.Popen[str]] = []

    def started(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        running.append(process)
        return process

    yield started
    for process in running:
        process.kill()
        process.communicate()
    signal.signal(signal.SIGINT, before)


def wait_until(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the moment never came"
        time.sleep(0.01)


def stopped(process: subprocess.Popen[str], *, only_the_command: bool = False) -> str:
    """Press Ctrl-C (or tell the command alone) and return what it said last; nothing of it may live on."""
    children = psutil.Process(process.pid).children(recursive=True)
    if only_the_command:
        process.send_signal(signal.SIGINT)
    else:
        os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in said
    assert process.returncode == 130, said
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    lines = [line for line in said.splitlines() if "%" not in line]
    assert len(lines) == 1
    return lines[0]


def whole(folder: Path) -> bool:
    """Whether a folder holds no piece of a file, and no lock."""
    return not [found.name for found in folder.rglob(".*") if found.suffix == ".part" or found.name == ".lock"]


@pytest.mark.parametrize("delay_s", [0.12, 0.3, 0.8], ids=lambda delay: f"after {delay} s")
def test_while_a_job_is_loaded(start: Start, half_maps: list[str], tmp_path: Path, delay_s: float) -> None:
    process = start("map", "correct", *half_maps, "-o", str(tmp_path / "out"))
    time.sleep(delay_s)
    assert stopped(process).startswith("stopped")
    assert not (tmp_path / "out" / "result.json").exists()


@pytest.mark.parametrize("alone", [False, True], ids=["terminal", "only the command"])
def test_while_a_network_is_trained(start: Start, half_maps: list[str], tmp_path: Path, alone: bool) -> None:
    out = tmp_path / "out"
    words = [
        "map",
        "correct",
        *half_maps,
        "-o",
        str(out),
        "--steps",
        "100000",
        "--cube-size",
        "16",
        "--crop-size",
        "32",
    ]
    process = start(*words, "--limit-res", "6", "--checkpoint-every-s", "0.2")
    wait_until(lambda: any(out.glob(".*.safetensors")), process)
    line = stopped(process, only_the_command=alone)
    assert line == f"stopped; the same command goes on where it was ({out})"
    assert whole(out)
    assert not (out / "result.json").exists()


def test_the_same_command_does_go_on(start: Start, half_maps: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["map", "correct", *half_maps, "-o", str(out), "--cube-size", "16", "--crop-size", "32", "--steps", "16"]
    words += ["--batch", "1", "--limit-res", "6", "--checkpoint-every-s", "0.2"]
    process = start(*words)
    wait_until(lambda: any(out.glob(".*.safetensors")), process)
    stopped(process)
    again = start(*words)
    _, said = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 0, said
    assert "goes on after step" in (out / "run.log").read_text()


def test_a_job_that_keeps_no_checkpoint_begins_again(start: Start, half_maps: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("map", "fsc3d", *half_maps, "-o", str(out))
    wait_until(lambda: (out / "job.yaml").exists(), process)
    assert stopped(process) == f"stopped; the same command begins again in {out}"
    assert whole(out)


def test_waiting_for_the_daemon_leaves_the_job_alone(start: Start, daemon: ScriptedDaemon) -> None:
    asked: list[dict[str, object]] = []

    def answer(request: dict[str, object]) -> dict[str, object]:
        asked.append(request)
        time.sleep(1.0)
        return {"type": "reply", "ok": True, "state": "running"}

    daemon.answers["wait"] = answer
    process = start("wait", "42")
    wait_until(lambda: bool(asked), process)
    line = stopped(process)
    assert line == "stopped; job 42 goes on in the daemon: 'cryobridge wait 42', 'cryobridge cancel 42'"


def test_following_a_log(start: Start, daemon: ScriptedDaemon) -> None:
    daemon.answers["follow"] = lambda _: Snapshot(number=1, at=0.0, tables={}).as_message()
    daemon.replies("logs", lines=["one"])
    daemon.replies("wait", state="running")
    process = start("logs", "-f", "42")
    wait_until(lambda: "logs" in [request["type"] for request in daemon.requests], process)
    assert stopped(process) == "stopped; job 42 goes on in the daemon: 'cryobridge logs -f 42'"
