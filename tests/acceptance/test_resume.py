"""A correction that is killed at any moment and started again ends with the very maps of one that was not."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.correction_job import correction_job

pytestmark = [pytest.mark.acceptance, pytest.mark.faults, pytest.mark.slow]

KILLS = 3
PATIENCE_S = 120.0
OPTIONS: dict[str, Any] = {"steps": 30, "held_out": 2, "held_out_every": 7, "checkpoint_every_s": 0.01}
CLI = [sys.executable, "-m", "cryobridge.bridge.cli"]
MAPS = ("corrected_half1.mrc", "corrected_half2.mrc", "corrected.mrc", "network.safetensors", "loss.csv")


def wait_until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def job_file(folder: Path, name: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(
        json.dumps({**correction_job(folder, name=name, **OPTIONS), "run": {"devices": "cpu", "threads": 1}})
    )
    return path


def digests(folder: Path) -> dict[str, str]:
    outputs = json.loads((folder / "result.json").read_text())["outputs"]
    return {name: outputs[name]["sha256"] for name in MAPS}


def written_since(checkpoint: Path, before: float) -> bool:
    try:
        return checkpoint.stat().st_mtime > before
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run([*CLI, "run", str(job_file(folder, "out"))], check=True, capture_output=True)
    return digests(folder / "out")


def test_killed_again_and_again(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    command = [*CLI, "run", str(job_file(tmp_path, "killed"))]
    out = tmp_path / "killed"
    moment = random.Random(4)
    for _ in range(KILLS):
        started = time.time()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_until(
            lambda: written_since(out / ".checkpoint.safetensors", started) or process.poll() is not None,  # noqa: B023
            "no checkpoint was written",
        )
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(moment.uniform(0, 0.7))
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.communicate()
        _, alive = psutil.wait_procs(workers, timeout=10)
        assert not alive, "the worker outlived the command"
        assert not (out / "result.json").exists(), "the job was over before it could be killed; give it more steps"
    subprocess.run(command, check=True, capture_output=True)
    assert digests(out) == undisturbed
    log = (out / "run.log").read_text()
    assert log.count("goes on after an interruption") == KILLS
    assert log.count("goes on after step") == KILLS
    assert [name for name in os.listdir(out) if name.startswith(".")] == []


@pytest.fixture
def daemon(private_runtime: object, tmp_path: Path) -> Iterator[psutil.Process]:
    environment = {**os.environ, "CRYOBRIDGE_STATE_DIR": str(tmp_path / "state"), "CRYOBRIDGE_DEVICES": "cpu"}
    with (tmp_path / "serve.log").open("ab") as log:
        process = subprocess.Popen([*CLI, "serve"], env=environment, stderr=log)
    try:
        wait_until(lambda: subprocess.run([*CLI, "status"], capture_output=True).returncode == 0, "no daemon came up")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()


def test_a_killed_worker_of_the_daemon(tmp_path: Path, undisturbed: dict[str, str], daemon: psutil.Process) -> None:
    submitted = subprocess.run(
        [*CLI, "submit", str(job_file(tmp_path, "killed"))], check=True, capture_output=True, text=True
    )
    job_id = submitted.stdout.strip()
    out = tmp_path / "killed"
    wait_until((out / ".checkpoint.safetensors").exists, "no checkpoint was written")
    for worker in daemon.children():
        worker.kill()
    ended = subprocess.run([*CLI, "wait", job_id], capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.stdout.startswith("succeeded"), ended.stdout + ended.stderr + (tmp_path / "serve.log").read_text()
    assert digests(out) == undisturbed
    assert "goes on after step" in (out / "run.log").read_text()
