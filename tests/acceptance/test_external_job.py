"""An External job of RELION's from its start to its markers and nodes: done, refused, aborted, continued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.relion_project import HALF1, PROGRAM, QUICK, RelionJob, make_project

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

CLI = [sys.executable, "-m", "cryobridge.bridge.cli"]
LONG = "--devices cpu --steps 100000 --cube_size 16 --crop_size 32 --batch 2 --checkpoint_every_s 0.01"
ADDED = {"RELION_OUTPUT_NODES.star", "job.yaml", "result.json", "run.log", "report.html"}


@pytest.fixture
def project(tmp_path: Path, private_runtime: object) -> Path:
    make_project(tmp_path)
    return tmp_path


def wait_until(condition: Callable[[], object], what: str, limit_s: float = 120.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_a_correction_gives_its_maps_to_the_pipeline(project: Path) -> None:
    job = RelionJob(project)
    before = {path for path in project.rglob("*") if job.folder not in (path, *path.parents)}
    assert job.run(f"--in_3dref {HALF1} --in_mask mask.mrc {QUICK}") == 0, job.said
    assert job.markers == ["RELION_JOB_EXIT_SUCCESS"]
    assert job.untouched()
    assert {path for path in project.rglob("*") if job.folder not in (path, *path.parents)} == before
    nodes = job.nodes()
    assert nodes["External/job002/corrected.mrc"] == ("DensityMap.mrc", "6")
    assert nodes["External/job002/corrected_half1.mrc"] == ("DensityMap.mrc.halfmap", "10")
    assert nodes["External/job002/report.html"] == ("LogFile.pdf.relion", "13")
    assert all((project / name).is_file() for name in nodes)
    assert {path.name for path in job.folder.iterdir()} > ADDED
    assert not [path.name for path in job.folder.glob(".*") if path.name != ".CPU1"]
    assert (job.folder / "run.err").read_text() == ""
    out = (job.folder / "run.out").read_text()
    assert "\r" not in out
    assert "runs here; no daemon of yours answers" in out

    # "Continue!" in RELION's window gives the same command again.
    written = (job.folder / "result.json").stat().st_mtime_ns
    assert job.run(f"--in_3dref {HALF1} --in_mask mask.mrc {QUICK}") == 0
    assert "was finished before" in job.said
    assert job.markers == ["RELION_JOB_EXIT_SUCCESS"]
    assert job.nodes() == nodes
    assert (job.folder / "result.json").stat().st_mtime_ns == written

    # With other values it is another job, which does not replace this one silently.
    assert job.run(f"--in_3dref {HALF1} {QUICK}") == 1
    assert "--overwrite" in job.said
    assert job.markers == ["RELION_JOB_EXIT_FAILURE"]
    assert (job.folder / "result.json").stat().st_mtime_ns == written
    assert job.run(f"--in_3dref {HALF1} {QUICK} --overwrite Yes") == 0, job.said
    assert job.markers == ["RELION_JOB_EXIT_SUCCESS"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"--in_3dref {HALF1} --effort fast", "--effort: Input should be 'quick'"),
        (f"--in_3dref {HALF1} --limit_res 1 {QUICK}", "--limit_res 1 is not between"),
        ("--in_3dref nothing_half1.mrc", "nothing_half1.mrc"),
        ("--kind map.corect --in_3dref x.mrc", "map.correct"),
        ("stray --in_3dref x.mrc", "--o takes one value, not 2"),
    ],
)
def test_what_cannot_be_done_fails_in_relions_eyes_and_says_why(project: Path, line: str, said: str) -> None:
    job = RelionJob(project)
    assert job.run(line) == 1
    assert said in (job.folder / "run.err").read_text()
    assert job.markers == ["RELION_JOB_EXIT_FAILURE"]
    assert job.untouched()
    assert not (job.folder / "RELION_OUTPUT_NODES.star").exists()


def test_without_a_folder_it_is_no_job(project: Path) -> None:
    done = subprocess.run([*PROGRAM, "--in_3dref", HALF1], cwd=project, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--o is missing" in done.stderr


@pytest.mark.parametrize("way", ["window", "signal"])
def test_an_aborted_job_stops_soon_and_goes_on_when_it_is_continued(project: Path, way: str) -> None:
    job = RelionJob(project)
    process = job.start(f"--in_3dref {HALF1} --in_mask mask.mrc {LONG}")
    checkpoint = job.folder / ".checkpoint.safetensors"
    wait_until(lambda: checkpoint.exists() or process.poll() is not None, "no checkpoint was written")
    assert process.poll() is None, job.said
    if way == "window":
        (job.folder / "RELION_JOB_ABORT_NOW").touch()
    else:
        process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 2
    assert job.markers == ["RELION_JOB_EXIT_ABORTED"]
    assert not (job.folder / "RELION_JOB_ABORT_NOW").exists()
    assert not (job.folder / "result.json").exists()
    assert job.untouched()

    process = job.start(f"--in_3dref {HALF1} --in_mask mask.mrc {LONG}")
    log = job.folder / "run.log"
    wait_until(lambda: "goes on after step" in log.read_text(), "it did not go on")
    assert job.markers == []
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 2


@pytest.fixture
def daemon(project: Path) -> Iterator[None]:
    environment = {**os.environ, "CRYOBRIDGE_STATE_DIR": str(project / "state"), "CRYOBRIDGE_DEVICES": "cpu"}
    process = subprocess.Popen([*CLI, "serve"], env=environment, stderr=subprocess.DEVNULL)
    wait_until(lambda: subprocess.run([*CLI, "status"], capture_output=True).returncode == 0, "no daemon came up")
    yield
    process.terminate()
    process.wait(60)


def test_a_daemon_of_the_user_does_the_job_and_lets_it_go(project: Path, daemon: None) -> None:
    job = RelionJob(project)
    assert job.run(f"--kind map.fsc3d --in_3dref {HALF1} --limit_res 10") == 0, job.said
    assert "of your daemon" in job.said
    assert job.markers == ["RELION_JOB_EXIT_SUCCESS"]
    listed = subprocess.run([*CLI, "jobs"], capture_output=True, text=True).stdout
    assert "map.fsc3d" in listed

    long = RelionJob(project, 3)
    process = long.start(f"--in_3dref {HALF1} {LONG}")
    wait_until((long.folder / ".checkpoint.safetensors").exists, "it did not begin")
    (long.folder / "RELION_JOB_ABORT_NOW").touch()
    assert process.wait(60) == 2
    assert long.markers == ["RELION_JOB_EXIT_ABORTED"]
    assert "cancelled" in subprocess.run([*CLI, "jobs"], capture_output=True, text=True).stdout
