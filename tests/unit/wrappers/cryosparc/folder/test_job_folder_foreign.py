"""What no job of CryoSPARC leaves, and what a hostile user might: refused in one sentence, and nothing of it is run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from support.job_folder import MadeUpJob, found
from support.job_folder import names_of as names

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.cs_table import read_table, write_table


@pytest.fixture
def job(tmp_path: Path) -> MadeUpJob:
    return MadeUpJob(tmp_path)


# ---- what is no job's folder


def test_folders_that_are_no_jobs(job: MadeUpJob, tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="holds no tables"):
        found(job, place=job.project)
    with pytest.raises(InputInvalid, match="does not exist; give the folder of a job"):
        found(job, place=tmp_path / "nowhere")
    with pytest.raises(InputInvalid, match="is no folder"):
        found(job, place=job.map("x.mrc"))
    job.particles("J42_particles.cs", ["blob"])
    with pytest.raises(InputInvalid, match=r"no table with map_half_A, map_half_B for 'volume' \(there are blob\)"):
        found(job)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read(job: MadeUpJob) -> None:
    job.folder.chmod(0)
    try:
        with pytest.raises(InputInvalid, match="cannot be read: Permission denied"):
            found(job)
    finally:
        job.folder.chmod(0o755)


def test_a_job_whose_folder_is_a_link_to_another_disk(job: MadeUpJob, tmp_path: Path) -> None:
    job.volume("003_")
    job.folder.rename(tmp_path / "bulk")
    job.folder.symlink_to(tmp_path / "bulk")
    assert found(job).paths["half1"] == tmp_path / "bulk" / "J42_003_volume_map_half_A.mrc"
    (tmp_path / "mine").symlink_to(job.folder)
    job.folder.unlink()
    (tmp_path / "bulk").rename(job.folder)
    assert found(job, place=tmp_path / "mine").paths["half1"].parent == job.folder


# ---- hostile tables


@pytest.mark.parametrize(
    "path",
    [
        "/etc/hostname",
        "../../secret.mrc",
        "J42/../../secret.mrc",
        "J42/a\0b.mrc",
        ">/etc/hostname",
        ">../x",
        "a\nb",
    ],
)
def test_a_path_that_leads_out_of_the_project_is_refused(job: MadeUpJob, path: str) -> None:
    job.map("x.mrc").rename(job.project.parent / "secret.mrc")
    job.table("J42_003_volume.cs", {"map_half_A": path, "map_half_B": path})
    with pytest.raises(InputInvalid, match=r"is no path inside of a project|holds a text"):
        found(job)


def test_a_hostile_newest_table_is_not_passed_over(job: MadeUpJob) -> None:
    job.volume("002_")
    job.table("J42_003_volume.cs", {"map_half_A": "/etc/hostname", "map_half_B": "/etc/hostname"})
    with pytest.raises(InputInvalid, match="is no path inside of a project"):
        found(job)


def test_links_out_of_the_project_need_leave(job: MadeUpJob, tmp_path: Path) -> None:
    job.volume("003_")
    away = tmp_path / "away"
    away.mkdir()
    half = job.folder / "J42_003_volume_map_half_A.mrc"
    half.rename(away / half.name)
    half.symlink_to(away / half.name)
    with pytest.raises(InputInvalid, match=f"leads out of the project, to {away}.*--also-read {away}"):
        found(job)
    assert found(job, also_read=(away,)).paths["half1"] == away / half.name


def test_a_table_that_is_a_link_out_of_the_project_needs_leave(job: MadeUpJob, tmp_path: Path) -> None:
    for table in (job.volume("003_"), job.particles("J42_003_particles.cs", ["alignments3D"])):
        table.rename(tmp_path / table.name)
        table.symlink_to(tmp_path / table.name)
    for kind in ("map.fsc3d", "map.sampling"):
        with pytest.raises(InputInvalid, match="leads out of the project"):
            found(job, kind)
        assert found(job, kind, also_read=(tmp_path,)).paths


def test_a_slot_without_a_path_is_one_that_there_is_not(job: MadeUpJob) -> None:
    table = job.volume("003_")
    columns = read_table(table)
    write_table(table, {**columns, "mask_refine/path": np.array([""]), "mask_fsc_auto/path": np.array([">"])})
    inputs = found(job)
    assert names(inputs)["mask"] == "J42_003_volume_mask_fsc.mrc"
    assert "mask_refine" not in inputs.handed_on
    write_table(table, {**columns, "map_half_B/path": np.array([""])})
    with pytest.raises(InputInvalid, match="names no file for map_half_B"):
        found(job)


def test_links_that_lead_nowhere_or_in_circles(job: MadeUpJob) -> None:
    job.volume("003_")
    half = job.folder / "J42_003_volume_map_half_A.mrc"
    half.unlink()
    half.symlink_to(half.name)
    with pytest.raises(InputInvalid, match="cannot be found"):
        found(job)


def _pickled(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.array([{"a": 1}], dtype=object))
    path.with_suffix(".npy").rename(path)


def _object_columns(path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array(
            file, np.array([(1, "x")], [("uid", "<u8"), ("map_half_A/path", "O")]), allow_pickle=True
        )


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(pickle.dumps({"a": 1})),
        _pickled,
        _object_columns,
        lambda path: path.write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b"{" * 1000),
        lambda path: path.write_bytes(b"\x95CSDAT" + b"\xff" * 50),
        lambda path: os.mkfifo(path),
        lambda path: path.mkdir(),
    ],
    ids=["pickle", "pickled array", "object columns", "giant header", "stream", "pipe", "folder"],
)
def test_tables_that_are_none_are_one_sentence_and_never_run(job: MadeUpJob, write: object) -> None:
    write(job.folder / "J42_003_volume.cs")  # type: ignore[operator]
    with pytest.raises(InputInvalid, match=r"J42_003_volume\.cs"):
        found(job)


def test_a_path_column_of_numbers_is_no_path(job: MadeUpJob) -> None:
    table = np.zeros(1, [("uid", "<u8"), ("map_half_A/path", "<f4"), ("map_half_B/path", "<f4")])
    with (job.folder / "J42_003_volume.cs").open("wb") as file:
        np.save(file, table)
    with pytest.raises(InputInvalid, match="holds no paths"):
        found(job)


def test_no_more_tables_than_a_job_has(job: MadeUpJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cryobridge.wrappers.cryosparc.folder.job_tables.MAX_TABLES", 3)
    for iteration in range(4):
        job.particles(f"J42_{iteration:03}_particles.cs", ["blob"])
    with pytest.raises(InputInvalid, match="holds 4 tables"):
        found(job)
