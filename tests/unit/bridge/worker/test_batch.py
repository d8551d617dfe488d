"""The worker on a cluster's node: one of several does the job, and what became of it is in the folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

COUNTING = Path(__file__).parents[3] / "support" / "slow_steps.py"


def spooled(folder: Path, steps: int) -> Path:
    spec = {
        "schema": "cryobridge/job/1",
        "kind": "map.correct",
        "inputs": {"half1": "/a.mrc", "half2": "/b.mrc", "mask": "/m.mrc"},
        "output": str(folder / "out"),
        "options": {"steps": steps},
        "run": {"executor": "slurm"},
    }
    spool = folder / "ab-0"
    spool.mkdir()
    (spool / "job.json").write_text(
        json.dumps({"schema": "cryobridge/spool/1", "job_id": "ab", "owner": "x", "spec": spec})
    )
    return spool


def start(spool: Path, number: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(COUNTING), "--job", str(spool / "job.json")]
    environment = {**os.environ, "SLURM_JOB_ID": str(number)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def wait_until(path: Path) -> None:
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.02)


def test_of_workers_that_begin_together_one_does_the_job(tmp_path: Path) -> None:
    spool = spooled(tmp_path, 5)
    workers = [start(spool, number) for number in (7, 8, 9)]
    said = [worker.communicate(timeout=100)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], said
    assert (tmp_path / "out" / "runs.txt").read_text() == "from 0\n"
    assert read(spool / "result.json") == {"result": {"steps": 5}}
    assert read(spool / "claim.json")["number"] in (7, 8, 9)
    assert sum("does this job; this one ends" in text for text in said) == 2


def test_a_slurm_job_that_begins_anew_keeps_its_claim_and_goes_on(tmp_path: Path) -> None:
    spool = spooled(tmp_path, 400)
    first = start(spool, 7)
    wait_until(tmp_path / "out" / "kept.json")
    first.kill()
    first.communicate()
    second = start(spool, 7)
    runs, end = tmp_path / "out" / "runs.txt", time.monotonic() + 60
    while len(runs.read_text().splitlines()) < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    (spool / "cancel").touch()
    second.communicate(timeout=100)
    assert runs.read_text().splitlines()[1] != "from 0"
    assert read(spool / "failure.json")["code"] == "cancelled"


@pytest.mark.parametrize("way", ["cancel", "removed", "signal"])
def test_a_worker_stops_between_its_steps(tmp_path: Path, way: str) -> None:
    spool = spooled(tmp_path, 100_000)
    worker = start(spool, 7)
    wait_until(tmp_path / "out" / "kept.json")
    wait_until(spool / "progress.json")
    if way == "cancel":
        (spool / "cancel").touch()
    elif way == "removed":
        spool.rename(tmp_path / "away")
    else:
        worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=60)
    assert worker.returncode == (128 + signal.SIGTERM if way == "signal" else 1)
    # SLURM itself says why it ended a job; nobody else can know.
    assert (spool / "failure.json").exists() == (way == "cancel")
    assert 0 < json.loads((tmp_path / "out" / "kept.json").read_text()) < 100_000


def test_what_is_no_job_fails_before_anything_is_loaded(tmp_path: Path) -> None:
    spool = tmp_path / "ab-0"
    spool.mkdir()
    (spool / "job.json").write_text("{}")
    worker = start(spool, 7)
    _, said = worker.communicate(timeout=60)
    assert worker.returncode == 2
    assert "job.json" in said
