"""RELION's own pipeline runs our job as an External one, and takes its maps as nodes."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from gemmi import cif
from support.relion_project import HALF1, PROGRAM, make_project

pytestmark = [pytest.mark.acceptance, pytest.mark.relion, pytest.mark.slow]

EMPTY_PIPELINE = "\ndata_pipeline_general\n\n_rlnPipeLineJobCounter 1\n\n"
FINISHED, FAILED = "2", "3"


@pytest.fixture
def project(tmp_path: Path, private_runtime: object) -> Path:
    if shutil.which("relion_pipeliner") is None:
        pytest.skip("not installed: relion_pipeliner (Debian, Ubuntu: apt install relion)")
    make_project(tmp_path)
    (tmp_path / "default_pipeline.star").write_text(EMPTY_PIPELINE)
    program = tmp_path / "cryobridge-relion-job"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    return tmp_path


def pipeliner(project: Path, *words: str) -> None:
    # Not a second command at a time: it waits two minutes for the lock of one that failed.
    done = subprocess.run(["relion_pipeliner", *words], cwd=project, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr


def table(project: Path, name: str, *columns: str) -> list[list[str]]:
    block = cif.read_file(str(project / "default_pipeline.star")).find_block(f"pipeline_{name}")
    return [list(row) for row in block.find([f"_rlnPipeLine{column}" for column in columns])]


def status(project: Path) -> str:
    return table(project, "processes", "ProcessName", "ProcessStatus")[0][1]


def options(project: Path, **chosen: str) -> dict[str, str]:
    return {"fn_exe": str(project / "cryobridge-relion-job"), "in_mask": "mask.mrc", "nr_threads": "1", **chosen}


def test_a_job_added_by_its_options_is_run_and_its_maps_are_nodes(project: Path) -> None:
    labels = options(
        project, in_3dref=HALF1, param1_label="effort", param1_value="quick", param2_label="gpu", param2_value="cpu"
    )
    pipeliner(
        project, "--addJob", "External", "--addJobOptions", ";".join(f"{key} == {one}" for key, one in labels.items())
    )
    pipeliner(project, "--RunJobs", "External/job001/", "--schedule", "one", "--sec_wait_after", "1")
    assert status(project) == FINISHED, (project / "External/job001/run.err").read_text()
    nodes = dict(table(project, "nodes", "NodeName", "NodeType"))
    assert nodes["External/job001/corrected.mrc"] == "6"
    assert nodes["External/job001/corrected_half1.mrc"] == "10"
    edges = table(project, "output_edges", "EdgeProcess", "EdgeToNode")
    assert ["External/job001/", "External/job001/corrected.mrc"] in edges
    note = (project / "External/job001/note.txt").read_text()
    assert "--effort quick --gpu cpu --j 1" in note


def test_a_job_star_as_in_the_documents_is_run_and_a_failure_is_one(project: Path, repository: Path) -> None:
    page = (repository / "docs/how-to/relion-external-job.md").read_text()
    example = page.split("<!-- job.star of RELION 3.1 -->\n```\n")[1].split("```")[0]
    star = project / "correction_job.star"
    program = str(project / "cryobridge-relion-job")
    star.write_text(example.replace("/opt/cryobridge/.venv/bin/cryobridge-relion-job", program))
    assert program in star.read_text()
    pipeliner(project, "--addJobFromStar", "correction_job.star")
    (project / "mask.mrc").write_text("this is no mask")
    pipeliner(project, "--RunJobs", "External/job001/", "--schedule", "one", "--sec_wait_after", "1")
    assert "mask.mrc" in (project / "External/job001/run.err").read_text()
    assert status(project) == FAILED
    assert "--kind map.correct" in (project / "External/job001/note.txt").read_text()
