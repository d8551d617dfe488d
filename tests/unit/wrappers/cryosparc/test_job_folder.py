"""A job's folder read without a server: which table, which files, and what is refused in one sentence."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from support.job_folder import SLOTS, MadeUpJob

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.cryosparc.job_folder import FolderInputs, Folders, inputs_of_folders, project_of
from cryobridge.wrappers.cryosparc.job_tables import tables_of
from cryobridge.wrappers.cryosparc.options_block import MaskChoice
from cryobridge.wrappers.cryosparc.recipes import recipes
from cryobridge.wrappers.formats.cs_table import read_table, write_table


@pytest.fixture
def job(tmp_path: Path) -> MadeUpJob:
    return MadeUpJob(tmp_path)


def found(
    job: MadeUpJob,
    kind: str = "map.fsc3d",
    *,
    place: Path | None = None,
    use_mask: MaskChoice = "auto",
    also_read: tuple[Path, ...] = (),
    **others: Path,
) -> FolderInputs:
    folders = Folders(place or job.folder, others, also_read)
    return inputs_of_folders(recipes()[kind], folders, use_mask, job.project.parent / "work")


def names(inputs: FolderInputs) -> dict[str, str]:
    return {key: path.name for key, path in inputs.paths.items()}


# ---- which table


@pytest.mark.parametrize("prefix", ["", "cryosparc_P3_", "P3_"])
@pytest.mark.parametrize("name", ["J42", "J1003"])
def test_the_last_iteration_is_taken_whatever_the_version_calls_it(tmp_path: Path, name: str, prefix: str) -> None:
    job = MadeUpJob(tmp_path, name, prefix)
    for iteration in ("002_", "010_", "009_"):
        job.volume(iteration)
    stem = f"{job.stem}_010_volume"
    assert names(found(job)) == {
        "half1": f"{stem}_map_half_A.mrc",
        "half2": f"{stem}_map_half_B.mrc",
        "mask": f"{stem}_mask_refine.mrc",
    }


def test_an_output_without_an_iteration_is_the_last(job: MadeUpJob) -> None:
    job.volume("010_")
    job.volume("")
    assert names(found(job))["half1"] == "J42_volume_map_half_A.mrc"


def test_maps_that_the_job_passed_through_are_found_in_the_passthrough_table(job: MadeUpJob) -> None:
    job.volume("", ["map_sharp"])
    job.volume("", ["map", "map_half_A", "map_half_B", "mask_fsc"], output="passthrough_volume")
    inputs = found(job)
    assert names(inputs)["half1"] == "J42_passthrough_volume_map_half_A.mrc"
    assert set(inputs.handed_on) == {"map_half_A", "map_half_B", "mask_fsc"}


def test_without_a_login_nothing_of_job_json_is_needed(job: MadeUpJob) -> None:
    job.volume("003_")
    (job.folder / "job.json").write_text('{"half wri')
    (job.project / "project.json").unlink()
    assert set(found(job).paths) == {"half1", "half2", "mask"}


def test_two_volumes_of_one_iteration_are_not_guessed_at(job: MadeUpJob) -> None:
    for number in "01":
        job.volume("", output=f"class_0{number}_00028_volume")
    with pytest.raises(InputInvalid, match=r"class_00_00028_volume\.cs.* all fit 'volume'; give the one"):
        found(job)
    inputs = found(job, place=job.folder / "J42_class_01_00028_volume.cs")
    assert names(inputs)["half1"] == "J42_class_01_00028_volume_map_half_A.mrc"


@pytest.mark.parametrize("rows", [0, 2])
def test_a_table_of_none_or_several_volumes_is_refused(job: MadeUpJob, rows: int) -> None:
    one = read_table(job.volume("003_"))
    several = {name: np.repeat(column, rows, axis=0) for name, column in one.items()}
    write_table(job.folder / "J42_003_volume.cs", {**several, "uid": np.arange(rows, dtype=np.uint64)})
    with pytest.raises(InputInvalid, match=rf"J42_003_volume\.cs: holds {rows} volumes, not one"):
        found(job)


def test_other_inputs_are_never_taken_from_the_volume(job: MadeUpJob) -> None:
    job.volume("003_")
    # A refinement has a map, and the kind takes maps under other names: none of them is meant.
    assert set(found(job, "map.correct").paths) == {"half1", "half2", "mask"}
    with pytest.raises(InputInvalid, match=r"the input 'low' .* is missing"):
        found(job, "map.combine")


# ---- half written


@pytest.mark.parametrize("how", ["absent", "empty", "cut", "table cut", "table empty"])
def test_an_iteration_that_is_being_written_is_passed_over_with_a_note(job: MadeUpJob, how: str) -> None:
    job.volume("002_")
    table = job.volume("003_")
    half = job.folder / "J42_003_volume_map_half_B.mrc"
    if how == "absent":
        half.unlink()
    elif how == "empty":
        half.write_bytes(b"")
    elif how == "cut":
        half.write_bytes(half.read_bytes()[:-100])
    else:
        table.write_bytes(table.read_bytes()[: -10 if how == "table cut" else 0])
    inputs = found(job)
    assert names(inputs)["half1"] == "J42_002_volume_map_half_A.mrc"
    assert [note for note in inputs.notes if "J42_002_volume.cs is used; newer is not complete" in note]


def test_where_no_iteration_is_complete_the_newest_says_what_is_missing(job: MadeUpJob) -> None:
    for iteration in ("002_", "003_"):
        job.volume(iteration)
        (job.folder / f"J42_{iteration}volume_map_half_A.mrc").unlink()
    with pytest.raises(InputInvalid, match=r"J42_003_volume_map_half_A\.mrc: named by J42_003_volume\.cs"):
        found(job)


# ---- masks


def test_a_mask_is_chosen_from_the_volume_or_another_job(job: MadeUpJob, tmp_path: Path) -> None:
    job.volume("003_")
    other = MadeUpJob(tmp_path / "other", "J43")
    other.table("J43_mask.cs", {"mask": f"J43/{other.map('mask.mrc').name}"})
    assert names(found(job, use_mask="mask_fsc"))["mask"] == "J42_003_volume_mask_fsc.mrc"
    assert "mask" not in found(job, use_mask="none").paths
    assert found(job, mask=other.folder).paths["mask"] == other.folder / "mask.mrc"


def test_a_mask_that_is_not_there_is_never_replaced_by_another(job: MadeUpJob) -> None:
    job.volume("003_", ["map_half_A", "map_half_B", "mask_refine"])
    with pytest.raises(InputInvalid, match="its volume has no mask_fsc_auto"):
        found(job, use_mask="mask_fsc_auto")
    with pytest.raises(InputInvalid, match="give one of the two"):
        found(job, use_mask="none", mask=job.folder)
    with pytest.raises(InputInvalid, match="has no table with mask for 'mask'"):
        found(job, mask=job.folder)


def test_an_input_that_the_kind_has_not_is_named(job: MadeUpJob) -> None:
    job.volume("003_")
    with pytest.raises(InputInvalid, match=r"map\.fsc3d has no input 'particles'; it has volume, mask"):
        found(job, particles=job.folder)


# ---- particles (C8)


def test_poses_come_from_the_job_before_what_it_passed_through(job: MadeUpJob) -> None:
    own = job.particles("J42_003_particles.cs", ["blob", "alignments3D"], shift=1.0)
    job.particles("J42_passthrough_particles.cs", ["alignments3D"], shift=9.0)
    inputs = found(job, "map.sampling")
    assert inputs.paths["particles"] == own
    assert inputs.notes == [f"particles: 3 of {own}"]


def test_poses_that_were_only_passed_through_are_joined_by_uid_and_said(job: MadeUpJob, tmp_path: Path) -> None:
    job.particles("J42_particles.cs", ["blob"], (1, 2, 3))
    job.particles("J42_passthrough_particles_rejected.cs", ["alignments3D"], (8, 9))
    passed = job.particles("J42_passthrough_particles.cs", ["alignments3D"], (3, 4, 1, 2))
    inputs = found(job, "map.sampling")
    assert inputs.paths["particles"].parent == tmp_path / "work"
    assert found(job, "map.sampling").paths == inputs.paths
    columns = read_table(inputs.paths["particles"])
    assert columns["uid"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(columns["alignments3D/pose"][:, 0], [0.1, 0.2, 0.3], rtol=1e-6)
    assert f"particles: alignments3D from {passed}" in inputs.notes


def test_poses_of_the_same_iteration_as_the_maps(job: MadeUpJob) -> None:
    for iteration in ("002_", "003_"):
        job.volume(iteration)
        job.particles(f"J42_{iteration}particles.cs", ["alignments3D"])
    (job.folder / "J42_003_volume_map_half_A.mrc").unlink()
    assert names(found(job, "map.diagnose"))["particles"] == "J42_002_particles.cs"


def test_alignments_to_classes_are_not_taken_for_poses(job: MadeUpJob) -> None:
    job.particles("J42_particles.cs", ["blob", "alignments3D_multi"])
    with pytest.raises(InputInvalid, match=r"has no table with alignments3D .*only alignments to each class"):
        found(job, "map.sampling")


def test_particles_that_cannot_be_used_are_said_where_the_job_can_do_without(job: MadeUpJob) -> None:
    job.volume("003_")
    (job.folder / "J42_003_particles.cs").write_bytes(b"\x95CSDAT rest")
    inputs = found(job, "map.diagnose")
    assert "particles" not in inputs.paths
    assert any(note.startswith("particles: none (") and "cryosparc-tools" in note for note in inputs.notes)


# ---- exported groups


def exported(job: MadeUpJob) -> Path:
    """What Export makes: a folder in the project with links, and paths from that folder on."""
    job.volume("003_")
    group = job.project / "exports" / "groups" / "J42_volume"
    (group / "J42").mkdir(parents=True)
    paths = {}
    for slot in SLOTS:
        name = f"J42_003_volume_{slot}.mrc"
        (group / "J42" / name).symlink_to(f"../../../../J42/{name}")
        paths[slot] = f">J42/{name}"
    job.table("e.cs", paths).rename(group / "J42_volume_exported.cs")
    (group / "J42_volume_exported.csg").write_text(
        "created: 2024-01-01 10:00:00.123456\ngroup: {description: d, name: volume, title: t, type: volume}\n"
        "results:\n  map_half_A: {metafile: '>J42_volume_exported.cs', num_items: 1, type: volume.blob}\n"
        "version: v4.4.1\n"
    )
    return group


@pytest.mark.parametrize("which", ["", "J42_volume_exported.csg", "J42_volume_exported.cs"])
def test_an_exported_group_is_read_by_folder_group_or_table(job: MadeUpJob, which: str) -> None:
    group = exported(job)
    inputs = found(job, place=group / which)
    assert inputs.paths["half1"] == job.folder / "J42_003_volume_map_half_A.mrc"
    assert project_of(group) == job.project


@pytest.mark.parametrize("metafile", [">../../../J9/x.cs", "/etc/x.cs", ">a\\nb.cs", ">passwd"])
def test_a_group_that_names_something_else_is_refused(job: MadeUpJob, metafile: str) -> None:
    path = job.folder / "x.csg"
    path.write_text(f'results: {{map: {{metafile: "{metafile}"}}}}\n')
    with pytest.raises(InputInvalid, match="which is no table beside it"):
        tables_of(path)


@pytest.mark.parametrize("text", ["", "- 1\n", "results: 3\n", "a: &a [x]\nb: *a\n", "results: {map: {}}\n", "\0"])
def test_a_group_that_is_none_is_one_sentence(job: MadeUpJob, text: str) -> None:
    path = job.folder / "x.csg"
    path.write_text(text)
    with pytest.raises(InputInvalid, match=r"x\.csg"):
        tables_of(path)


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
    monkeypatch.setattr("cryobridge.wrappers.cryosparc.job_tables.MAX_TABLES", 3)
    for iteration in range(4):
        job.particles(f"J42_{iteration:03}_particles.cs", ["blob"])
    with pytest.raises(InputInvalid, match="holds 4 tables"):
        found(job)
