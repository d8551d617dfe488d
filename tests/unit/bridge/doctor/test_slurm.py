"""The doctor finds whether jobs can be handed to SLURM, and is silent where there is none and none is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryobridge.bridge.doctor.finding import Finding, Level
from cryobridge.bridge.doctor.slurm import check_folder, check_slurm
from cryobridge.schemas.config import DaemonConfig
from cryobridge.schemas.slurm import SlurmConfig


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def found(tmp_path: Path, text: str = "") -> list[Finding]:
    (tmp_path / "config.yaml").write_text(f"state_dir: {tmp_path}\n{text}")
    return list(check_slurm({"CRYOBRIDGE_CONFIG": str(tmp_path / "config.yaml")}))


@pytest.mark.usefixtures("bin_folder")
def test_where_there_is_none_nothing_is_said(tmp_path: Path) -> None:
    assert found(tmp_path) == []


@pytest.mark.usefixtures("bin_folder")
def test_one_that_is_wanted_and_not_there_is_a_failure(tmp_path: Path) -> None:
    (one,) = found(tmp_path, "slurm: {submit: cryobridge-no-such-sbatch}")
    assert one.level is Level.FAIL
    assert "cryobridge-no-such-sbatch" in one.text


def test_a_queue_that_answers_and_the_template_are_told(tmp_path: Path, bin_folder: Path) -> None:
    program(bin_folder, "sbatch", "exit 1")
    program(bin_folder, "squeue", "exit 0")
    answers, template, _ = found(tmp_path)
    assert (answers.level, template.level) == (Level.OK, Level.OK)
    assert "0 jobs" in answers.text


def test_a_queue_that_does_not_answer_is_a_failure_only_where_it_is_wanted(tmp_path: Path, bin_folder: Path) -> None:
    program(bin_folder, "sbatch", "exit 1")
    program(bin_folder, "squeue", "echo no controller >&2; exit 1")
    (there,) = found(tmp_path)
    (wanted,) = found(tmp_path, "slurm: {defaults: {partition: gpu}}")
    assert (there.level, wanted.level) == (Level.WARN, Level.FAIL)
    assert "no controller" in wanted.text


def test_a_template_that_never_starts_the_job_is_a_failure(tmp_path: Path, bin_folder: Path) -> None:
    program(bin_folder, "sbatch", "exit 1")
    program(bin_folder, "squeue", "exit 0")
    (tmp_path / "own.sbatch").write_text("#!/bin/bash\necho\n")
    _, template, _ = found(tmp_path, f"slurm: {{template: {tmp_path}/own.sbatch}}")
    assert template.level is Level.FAIL
    assert "never starts the job" in template.text


def test_a_configuration_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    (one,) = found(tmp_path, "slurm: {submitt: sbatch}")
    assert one.level is Level.FAIL
    assert "submit" in one.text


@pytest.mark.parametrize(
    ("kind", "level"), [("nfs4", Level.OK), ("fuse.sshfs", Level.OK), ("ext4", Level.WARN), ("tmpfs", Level.WARN)]
)
def test_the_folder_should_lie_where_other_machines_see_it(tmp_path: Path, kind: str, level: Level) -> None:
    config = DaemonConfig(slurm=SlurmConfig(folder=tmp_path / "not" / "made" / "yet"))
    mounts = {"/": "ext4" if level is Level.OK else "nfs4", str(tmp_path.resolve()): kind}
    one = check_folder(config, mounts)
    assert one.level is level
    assert kind in one.text
    assert not (tmp_path / "not").exists()
