"""3DFSC, correction and diagnosis as a user asks for them: as a command, from a file, by the daemon; each reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryobridge.core.volume.phantom import phantom_pair
from cryobridge.wrappers.formats import mrc

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

CLI = [sys.executable, "-m", "cryobridge.bridge.cli"]
TRAINING = {"steps": 3, "cube_size": 16, "crop_size": 32}


def cryobridge(folder: Path, *words: str) -> str:
    done = subprocess.run([*CLI, *words], cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def as_options(options: dict[str, int]) -> list[str]:
    return [word for key, value in options.items() for word in (f"--{key}", str(value))]


def job_file(folder: Path, kind: str, inputs: dict[str, str], output: str, options: dict[str, int]) -> str:
    head = {"schema": "cryobridge/job/1", "kind": kind, "run": {"threads": 1, "devices": "cpu"}}
    path = folder / f"{output}.yaml"
    path.write_text(json.dumps({**head, "inputs": inputs, "output": output, "options": options}))
    return str(path)


def outputs(folder: Path) -> dict[str, str]:
    """Checksums of what a finished job wrote, after a look at what every job must leave."""
    assert "data:image/png;base64," in (folder / "report.html").read_text()
    assert "finished after" in (folder / "run.log").read_text()
    found = json.loads((folder / "result.json").read_text())["outputs"]
    return {name: record["sha256"] for name, record in found.items() if name.endswith((".mrc", ".csv"))}


@pytest.fixture
def project(tmp_path: Path, private_runtime: object) -> Iterator[Path]:
    pair = phantom_pair(32, 3.0, 8.0)
    for name in ("half1", "half2", "mask"):
        mrc.write_atomically(tmp_path / f"{name}.mrc", getattr(pair, name).numpy(), pair.voxel_size_A)
    yield tmp_path
    subprocess.run([*CLI, "stop"], capture_output=True, timeout=60)


def test_a_job_means_the_same_however_it_is_asked_for(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYOBRIDGE_STATE_DIR", str(project / "state"))
    monkeypatch.setenv("CRYOBRIDGE_DEVICES", "cpu")
    inputs = {"half1": "half1.mrc", "half2": "half2.mrc", "mask": "mask.mrc"}
    halves, where = ["half1.mrc", "half2.mrc", "--mask", "mask.mrc"], ["--threads", "1", "--devices", "cpu"]
    daemon = subprocess.Popen([*CLI, "serve"], env=dict(os.environ), stderr=subprocess.DEVNULL)
    try:
        for kind, options in (("fsc3d", {"limit_res": 10}), ("correct", TRAINING)):
            cryobridge(project, "map", kind, *halves, *as_options(options), *where, "-o", f"{kind}_command")
            for way in ("run", "submit"):
                file = job_file(project, f"map.{kind}", inputs, f"{kind}_{way}", options)
                cryobridge(project, way, file, *(["--wait"] if way == "submit" else []))
                assert outputs(project / f"{kind}_{way}") == outputs(project / f"{kind}_command")
    finally:
        daemon.terminate()
        daemon.wait(30)
    corrected = [f"--corrected{half}=correct_command/corrected_half{half}.mrc" for half in (1, 2)]
    cryobridge(project, "map", "diagnose", *halves, *corrected, *where, "-o", "diagnosis")
    assert "change.csv" in outputs(project / "diagnosis")


@pytest.mark.shared
def test_real_half_maps_of_a_tiny_data_set(project: Path, shared: Path) -> None:
    """Packed as the archive has them, box 32, from 40 subtomograms."""
    folder = shared / "data" / "halfmaps_real_tiny" / "emp10499_70s_box32"
    if not folder.exists():
        pytest.skip("data/halfmaps_real_tiny is not in the shared data folder")
    halves = [str(folder / f"half{half}.mrc.gz") for half in (1, 2)]
    cryobridge(project, "map", "correct", *halves, *as_options(TRAINING), "--devices", "cpu", "-o", "out")
    metrics = json.loads((project / "out" / "result.json").read_text())["metrics"]
    assert 24 < metrics["resolution_A"] < 40
    before, after = (mrc.read(path)[0] for path in (halves[0], project / "out" / "corrected_half1.mrc"))
    assert before.shape == after.shape
    assert 0.2 < after.std() / before.std() < 1.5
