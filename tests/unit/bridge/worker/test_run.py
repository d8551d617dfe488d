"""A job in the foreground: what its process loads, since every command pays for that anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.correction_job import correction_job

PROGRAM = """
import sys
from cryobridge.bridge.worker import run
sys.argv = ["run", sys.argv[1]]
code = run.main()
print("\\n", *sys.modules)
sys.exit(code)
"""
NOT_FOR_AN_FSC = (
    "scipy",
    "starfile",
    "pandas",
    "gemmi",
    "mrcfile",
    "sqlite3",
    "watchdog",
    "rich",
    "sympy",
    "matplotlib.pyplot",
    "torch._dynamo",
    "torch._inductor",
    "cryobridge.bridge.daemon",
    "cryobridge.bridge.worker.calls",
    "cryobridge.bridge.worker.kinds.map.correct",
    "cryobridge.bridge.worker.training",
    "cryobridge.core.correction",
    "cryobridge.core.diagnosis",
    "cryobridge.core.nets",
    "cryobridge.core.phantoms",
    "cryobridge.core.volume",
)


@pytest.mark.slow
def test_a_plain_fsc3d_loads_no_more_than_it_needs(tmp_path: Path) -> None:
    files = correction_job(tmp_path)["inputs"]
    job = {"schema": "cryobridge/job/1", "kind": "map.fsc3d", "inputs": files, "output": str(tmp_path / "fsc3d")}
    (tmp_path / "job.json").write_text(json.dumps(job))
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "job.json")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(ended.stdout.splitlines()[-1].split())
    assert {"torch", "matplotlib.figure", "cryobridge.core.directional"} <= loaded
    assert loaded.isdisjoint(NOT_FOR_AN_FSC), loaded & set(NOT_FOR_AN_FSC)


def test_a_job_for_slurm_is_not_done_here(tmp_path: Path) -> None:
    job = {"schema": "cryobridge/job/1", "kind": "check", "output": str(tmp_path / "out"), "run": {"executor": "slurm"}}
    (tmp_path / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-I", "-m", "cryobridge.bridge.worker.run", str(tmp_path / "job.json")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "cryobridge submit" in ended.stderr
    assert not (tmp_path / "out").exists()
