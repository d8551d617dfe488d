"""The commands, the inbox and the watcher against a real daemon with a real worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from support.relion_folder import project, write_iteration

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

BOX = 16
PATIENCE_S = 120.0


class Bench:
    """A project with two small half-maps, and a daemon that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox = folder / "inbox"
        self.inbox.mkdir(mode=0o700)
        self.daemon: subprocess.Popen[bytes] | None = None
        self.log = folder / "serve.log"
        self.environment = {
            **os.environ,
            "CRYOBRIDGE_STATE_DIR": str(folder / "state"),
            "CRYOBRIDGE_INBOX": str(self.inbox),
            "CRYOBRIDGE_WATCH_ROOTS": str(folder / "projects"),
            "CRYOBRIDGE_DEVICES": "cpu",
            "RELION_EXTERNAL_RECONSTRUCT_EXECUTABLE": "",
        }
        (folder / "projects").mkdir()
        generator = np.random.default_rng(0)
        signal_map = generator.standard_normal((BOX,) * 3)
        for name in ("half1.mrc", "half2.mrc"):
            noisy = (signal_map + generator.standard_normal(signal_map.shape)).astype(np.float32)
            with mrcfile.new(folder / name) as file:
                file.set_data(noisy)
                file.voxel_size = 2.0

    def job(self, output: str) -> str:
        return json.dumps(
            {
                "schema": "cryobridge/job/1",
                "kind": "map.fsc3d",
                "inputs": {half: str(self.folder / f"{half}.mrc") for half in ("half1", "half2")},
                "output": str(self.folder / output),
            }
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command; it must end with this exit code."""
        answer = subprocess.run(
            [sys.executable, "-m", "cryobridge.bridge.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert answer.returncode == code, f"{arguments}: {answer.stdout}{answer.stderr}"
        return answer.stdout

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, "-m", "cryobridge.bridge.cli", "serve"], env=self.environment, stderr=log
            )
        wait_until(self._answers, "the daemon did not start")

    def _answers(self) -> bool:
        command = [sys.executable, "-m", "cryobridge.bridge.cli", "status"]
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    def kill(self) -> None:
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()

    def end(self) -> None:
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.terminate()
            try:
                self.daemon.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def jobs(self) -> list[dict[str, Any]]:
        return list(json.loads(self.run("jobs", "--json", "--limit", "100"))["jobs"])

    def wait_for(self, path: Path) -> None:
        wait_until(path.exists, f"{path.name} did not come; {self.log.read_text()[-2000:]}")


def wait_until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


@pytest.fixture
def bench(private_runtime: object, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.end()


def test_a_job_goes_through_the_daemon_and_the_daemon_stops_when_told(bench: Bench) -> None:
    bench.run("status", code=3)
    bench.start()
    (bench.folder / "job.json").write_text(bench.job("out"))
    job_id = bench.run("submit", str(bench.folder / "job.json")).strip()
    assert bench.run("wait", job_id).startswith("succeeded")
    result = json.loads((bench.folder / "out" / "result.json").read_text())
    assert result["metrics"]["box"] == BOX
    assert (bench.folder / "out" / "FSC3D.mrc").exists()
    assert "succeeded" in bench.run("logs", job_id)
    assert bench.run("cancel", job_id) == f"{job_id}: had succeeded already\n"
    bench.run("submit", str(bench.folder / "job.json"), code=1)
    assert [job["job_id"] for job in bench.jobs()] == [job_id]
    checked = {finding["check"]: finding for finding in json.loads(bench.run("doctor", "--json", code=1))}
    assert checked["daemon"]["level"] == "ok"
    assert "ran by the daemon" in checked["tiny job"]["text"]
    bench.run("drain")
    bench.run("status", code=4)
    assert bench.run("stop") == "stopped\n"
    bench.run("status", code=3)


def test_a_job_runs_in_the_foreground_without_a_daemon(bench: Bench) -> None:
    half1, half2 = (str(bench.folder / f"{half}.mrc") for half in ("half1", "half2"))
    bench.run("map", "fsc3d", half1, half2, "-o", str(bench.folder / "out"))
    before = (bench.folder / "out" / "result.json").read_bytes()
    bench.run("map", "fsc3d", half1, half2, "-o", str(bench.folder / "out"), code=1)
    assert (bench.folder / "out" / "result.json").read_bytes() == before
    bench.run("status", code=3)


@pytest.mark.faults
def test_inbox_jobs_run_once_though_the_daemon_is_killed_again_and_again(bench: Bench) -> None:
    bench.start()
    for number, pause_s in enumerate((0.0, 0.7, 1.4, 2.8)):
        part = bench.inbox / f"job{number}.json.part"
        part.write_text(bench.job(f"out{number}"))
        part.rename(bench.inbox / f"job{number}.json")
        time.sleep(pause_s)
        bench.kill()
        bench.start()
    for number in range(4):
        wait_until(
            lambda: any((bench.inbox / f"job{number}{end}").exists() for end in (".result.json", ".error.txt")),  # noqa: B023
            f"job{number} was not answered: {bench.log.read_text()[-2000:]}",
        )
        error = bench.inbox / f"job{number}.error.txt"
        assert not error.exists(), error.read_text()
        answer = json.loads((bench.inbox / f"job{number}.result.json").read_text())
        assert answer["result"]["kind"] == "map.fsc3d"
    assert sorted(job["output"] for job in bench.jobs()) == [str(bench.folder / f"out{number}") for number in range(4)]
    assert os.listdir(bench.inbox / "claimed") == []


def test_a_refinement_is_noticed_followed_and_let_go(bench: Bench) -> None:
    bench.start()
    job_dir = project(bench.folder / "projects" / "hemagglutinin")

    def sessions() -> dict[str, int]:
        shown = json.loads(bench.run("ps", "--json"))["sessions"]
        return {one["session"]: one["iteration"] for one in shown}

    write_iteration(job_dir, 0)
    wait_until(lambda: f"{job_dir}/run" in sessions(), "the refinement was not noticed")
    write_iteration(job_dir, 1)
    wait_until(lambda: sessions().get(f"{job_dir}/run") == 1, "the iteration was not noticed")
    (job_dir / "RELION_JOB_EXIT_SUCCESS").touch()
    wait_until(lambda: not sessions(), "the end was not noticed")
