"""Groups that CryoSPARC imports: what others have published of their form, read by numpy and YAML alone."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from support.job_folder import BOX, VOXEL_A, MadeUpJob

from cryobridge.schemas.errors import CryobridgeError, InputInvalid
from cryobridge.wrappers.cryosparc.folder.job_folder import Folders, inputs_of_folders
from cryobridge.wrappers.cryosparc.folder.result_group import write_volume_group
from cryobridge.wrappers.cryosparc.recipes import recipes
from cryobridge.wrappers.formats import mrc


@pytest.fixture
def job(tmp_path: Path) -> MadeUpJob:
    job = MadeUpJob(tmp_path)
    job.volume("003_")
    return job


def written(job: MadeUpJob, folder: Path) -> Path:
    """A group with a map of its own and a raw half-map of the job."""
    folder.mkdir(parents=True)
    mrc.write_atomically(folder / "corrected.mrc", np.zeros((BOX,) * 3, np.float32), VOXEL_A)
    half = job.folder / "J42_003_volume_map_half_A.mrc"
    files = {"map": folder / "corrected.mrc", "map_half_A": half}
    return write_volume_group(folder, "volume", "volume", "A title: with a colon", files, 7, job.project)


def test_a_group_has_the_fields_that_exported_ones_have(job: MadeUpJob, tmp_path: Path) -> None:
    path = written(job, tmp_path / "out")
    group = yaml.safe_load(path.read_text())
    assert isinstance(group.pop("created"), datetime.datetime)
    assert group == {
        "group": {
            "description": "A title: with a colon",
            "name": "volume",
            "title": "A title: with a colon",
            "type": "volume",
        },
        "results": {
            slot: {"metafile": ">volume.cs", "num_items": 1, "type": "volume.blob"} for slot in ("map", "map_half_A")
        },
        "version": "v4.4.0",
    }


def test_its_table_is_one_row_of_paths_from_the_folder_on(job: MadeUpJob, tmp_path: Path) -> None:
    path = written(job, tmp_path / "out")
    with path.with_suffix(".cs").open("rb") as file:
        table = np.load(file, allow_pickle=False)
    assert table.dtype.names is not None
    assert table["uid"].tolist() == [7]
    for slot in ("map", "map_half_A"):
        named = table[f"{slot}/path"][0].decode()
        assert named.startswith(">")
        assert ".." not in named
        volume, header = mrc.read(path.parent / named[1:])
        assert table[f"{slot}/shape"][0].tolist() == list(volume.shape)
        assert table[f"{slot}/psize_A"][0] == np.float32(header.voxel_size_A[0])
    raw = path.parent / table["map_half_A/path"][0].decode()[1:]
    assert raw.resolve() == job.folder / "J42_003_volume_map_half_A.mrc"


def test_links_move_with_a_project_and_hold_outside_of_it(job: MadeUpJob, tmp_path: Path) -> None:
    inside, outside = job.project / "exports" / "r", tmp_path / "out"
    written(job, inside)
    written(job, outside)
    assert (outside / "refinement" / "map_half_A.mrc").readlink().is_absolute()
    job.project.rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "exports" / "r" / "refinement" / "map_half_A.mrc").is_file()


def test_our_own_reader_reads_it_back(job: MadeUpJob, tmp_path: Path) -> None:
    path = written(job, job.project / "exports" / "r")
    inputs = inputs_of_folders(recipes()["map.lowpass"], Folders(path), "auto", tmp_path / "work")
    assert inputs.paths == {"map": path.parent / "corrected.mrc"}
    assert inputs.handed_on["map_half_A"] == job.folder / "J42_003_volume_map_half_A.mrc"


def test_a_group_is_written_again_over_an_older_one(job: MadeUpJob, tmp_path: Path) -> None:
    path = written(job, tmp_path / "out")
    half = job.folder / "J42_003_volume_map_half_B.mrc"
    write_volume_group(path.parent, "volume", "volume", "t", {"map_half_A": half}, 7, job.project)
    assert (path.parent / "refinement" / "map_half_A.mrc").resolve() == half
    assert list(yaml.safe_load(path.read_text())["results"]) == ["map_half_A"]


def test_what_is_no_volume_gives_no_group(tmp_path: Path) -> None:
    (tmp_path / "x.mrc").write_text("no map")
    with pytest.raises(InputInvalid):
        write_volume_group(tmp_path, "volume", "volume", "t", {"map": tmp_path / "x.mrc"}, 7, tmp_path)
    assert not list(tmp_path.glob("*.cs*"))


def test_where_nothing_can_be_written_it_says_so_and_leaves_no_group(job: MadeUpJob, tmp_path: Path) -> None:
    path = written(job, tmp_path / "out")
    path.with_suffix(".cs").unlink()
    path.with_suffix(".cs").mkdir()
    files = {"map": path.parent / "corrected.mrc"}
    with pytest.raises(CryobridgeError, match=r"volume\.csg: cannot be written: Is a directory"):
        write_volume_group(path.parent, "volume", "volume", "t", files, 7, job.project)
    assert not path.exists()
