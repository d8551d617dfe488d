"""A job's folder read without a server: which table, which files, and what is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.job_folder import SLOTS, MadeUpJob, found
from support.job_folder import names_of as names

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.cryosparc.folder.job_folder import project_of
from cryobridge.wrappers.cryosparc.folder.job_tables import tables_of
from cryobridge.wrappers.formats.cs_table import read_table, write_table


@pytest.fixture
def job(tmp_path: Path) -> MadeUpJob:
    return MadeUpJob(tmp_path)


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
