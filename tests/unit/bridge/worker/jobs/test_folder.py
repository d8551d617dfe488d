"""The output folder: what others have put there under our names is refused or passed over, and never waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.correction_job import correction_job

from cryobridge.bridge.worker.jobs.folder import OutputFolder
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import parse_job

PLANTS = [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to("elsewhere")]


def folder_with(tmp_path: Path, name: str, plant: Callable[[Path], None]) -> OutputFolder:
    job = parse_job(correction_job(tmp_path), "test")
    job.output.mkdir()
    plant(job.output / name)
    return OutputFolder(job, torch.device("cpu"))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("plant", PLANTS)
def test_an_odd_log_does_not_stop_a_job(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    folder = folder_with(tmp_path, "run.log", plant)
    folder.open()
    folder.log("one line")
    folder.close()
    assert not (folder.path / "elsewhere").exists()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("plant", PLANTS)
def test_an_odd_lock_is_named_and_not_followed(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    folder = folder_with(tmp_path, ".lock", plant)
    with pytest.raises(InputInvalid, match=r"lock: "):
        folder.open()
    assert not (folder.path / "elsewhere").exists()


@pytest.mark.parametrize("name", ["job.star", "job_pipeline.star", "default_pipeline.star", "RELION_OUTPUT_NODES.star"])
def test_relions_own_files_are_no_work_that_could_be_lost(tmp_path: Path, name: str) -> None:
    folder = folder_with(tmp_path, name, lambda path: path.write_text("RELION's"))
    folder.open()
    folder.close()
    assert (folder.path / name).read_text() == "RELION's"


@pytest.mark.parametrize("name", ["particles.star", "job_pipeline.star.mrc", "map.mrc"])
def test_other_work_in_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputInvalid, match="not of this job"):
        folder_with(tmp_path, name, lambda path: path.write_text("mine"))
