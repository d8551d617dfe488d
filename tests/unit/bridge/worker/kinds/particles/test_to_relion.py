"""`particles.to_relion` as the job runner does it: tables joined, stacks linked, everything said that has to be."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import starfile
from support.map_jobs import run_map_job
from support.spread_particles import BINNED_BOX, spread_particles

from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.job import parse_job
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.cs_table import write_table

KIND = "particles.to_relion"
SAMPLE = "cryosparc-standin/sample/CS-bridge-demo"
ROWS = 30


@pytest.fixture
def columns() -> dict[str, np.ndarray]:
    return spread_particles(ROWS)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the three stacks."""
    folder = tmp_path / "project"
    (folder / "J1").mkdir(parents=True)
    for number in range(3):
        mrc.write_atomically(
            folder / f"J1/stack_{number}.mrc", np.full((ROWS, BINNED_BOX, BINNED_BOX), number, np.float32), 2.5
        )
    return folder


def run(tmp_path: Path, columns: dict[str, Any], **inputs: Any) -> tuple[dict[str, Any], Any]:
    """The result, and the blocks of the STAR file."""
    options = inputs.pop("options", {})
    write_table(tmp_path / "particles.cs", columns)
    result, _ = run_map_job(KIND, tmp_path / "out", {"particles": tmp_path / "particles.cs", **inputs}, options)
    return result, starfile.read(tmp_path / "out" / "particles.star")


def test_what_is_left_out_is_said_on_the_way_in_the_log_and_in_the_report(
    tmp_path: Path, columns: dict[str, np.ndarray]
) -> None:
    columns["ctf/trefoil_A"] = np.full((ROWS, 2), 30.0, np.float32)
    write_table(tmp_path / "particles.cs", columns)
    result, on_the_way = run_map_job(KIND, tmp_path / "out", {"particles": tmp_path / "particles.cs"})
    sentence = next(line for line in result["statements"] if line.startswith("Trefoil"))
    assert sentence in on_the_way
    assert sentence in (tmp_path / "out" / "run.log").read_text()
    assert "Trefoil" in (tmp_path / "out" / "report.html").read_text()


def test_memory_is_reckoned_by_the_size_of_the_tables(tmp_path: Path) -> None:
    reckoned = []
    for rows in (10, 10_000):
        write_table(tmp_path / "particles.cs", spread_particles(rows))
        spec = {"schema": "cryobridge/job/1", "kind": KIND, "inputs": {"particles": str(tmp_path / "particles.cs")}}
        job = parse_job({**spec, "output": str(tmp_path / "out")}, "test")
        reckoned.append(job.memory(job.own_box("cpu") or 0, "cpu").host_bytes)
    assert reckoned[0] < 90_000_000
    assert reckoned[1] - reckoned[0] > 10_000_000


def test_memory_of_a_packed_table_is_reckoned_by_what_it_unpacks_to(tmp_path: Path) -> None:
    write_table(tmp_path / "particles.cs", spread_particles(10_000))
    whole = (tmp_path / "particles.cs").read_bytes()
    (tmp_path / "particles.cs.gz").write_bytes(gzip.compress(whole))
    spec = {"schema": "cryobridge/job/1", "kind": KIND, "inputs": {"particles": str(tmp_path / "particles.cs.gz")}}
    job = parse_job({**spec, "output": str(tmp_path / "out")}, "test")
    assert job.memory(job.own_box("cpu") or 0, "cpu").host_bytes > 20 * len(whole)


def said(result: dict[str, Any]) -> str:
    return " ".join(result["statements"])


@pytest.mark.shared
def test_the_sample_becomes_what_it_was_made_with(shared: Path, tmp_path: Path) -> None:
    project = shared / SAMPLE
    result, _ = run_map_job(
        KIND, tmp_path / "out", {"particles": project / "J1/J1_003_particles.cs", "project": project}
    )
    blocks = starfile.read(tmp_path / "out" / "particles.star")
    for label, values in json.loads((project / "truth.json").read_text()).items():
        assert np.abs(blocks["particles"][label] - np.array(values)).max() < 1e-4, label
    assert blocks["optics"]["rlnOpticsGroup"].tolist() == [1, 2]
    assert blocks["particles"]["rlnOpticsGroup"].tolist() == [1] * 4 + [2] * 4
    assert result["metrics"] == {"particles": 8, "optics_groups": 2, "turned_deg": 0.0}
    assert "dark on bright" in said(result)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "alignments3D" in page
    assert "dark on bright" in page
    stacks = {name.partition("@")[2] for name in blocks["particles"]["rlnImageName"]}
    assert stacks == {str(tmp_path / "out/stacks/J1/particles.mrcs")}
    assert Path(stacks.pop()).samefile(project / "J1/particles.mrc")


def test_stacks_are_linked_under_names_that_relion_takes(
    tmp_path: Path, columns: dict[str, np.ndarray], project: Path
) -> None:
    result, blocks = run(tmp_path, columns, project=project)
    for row, name in enumerate(blocks["particles"]["rlnImageName"]):
        number, _, path = name.partition("@")
        assert int(number) == row + 1
        assert path.endswith(".mrcs")
        assert mrc.read(Path(path))[0][0, 0, 0] == row % 3
    assert "3 in all" in said(result)
    assert set(result["outputs"]) == {"particles.star", "report.html"}
    # A project may hold millions of files: it is never listed for the record.
    assert set(result["inputs"]) == {"particles"}


def test_two_stacks_whose_names_differ_in_their_ending_only_stay_two(
    tmp_path: Path, columns: dict[str, np.ndarray], project: Path
) -> None:
    (project / "J1/stack_1.mrc").rename(project / "J1/stack_0.mrcs")
    (project / "J1/stack_2.mrc").rename(project / "J1/stack 0.mrc")
    columns["blob/path"] = np.array(["J1/stack_0.mrc", "J1/stack_0.mrcs", "J1/stack 0.mrc"] * 10)
    _, blocks = run(tmp_path, columns, project=project)
    paths = [Path(name.partition("@")[2]) for name in blocks["particles"]["rlnImageName"]]
    assert [int(mrc.read(path)[0][0, 0, 0]) for path in paths[:3]] == [0, 1, 2]
    assert not any(" " in path.name for path in paths)


def test_without_the_project_paths_stay_and_that_is_said(tmp_path: Path, columns: dict[str, np.ndarray]) -> None:
    result, blocks = run(tmp_path, columns)
    assert blocks["particles"]["rlnImageName"][0] == "000001@J1/stack_0.mrc"
    assert "Give 'project'" in said(result)
    assert not (tmp_path / "out" / "stacks").exists()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/etc/passwd.mrc", "no path inside of the project"),
        ("J1/../../other/a.mrc", "no path of a stack in the project"),
        ("J1/gone.mrc", "no such stack"),
        ("J1", "no MRC stack"),
        (".", "no MRC stack"),
        ("/", "no path inside of the project"),
        ("n" * 300 + ".mrc", "no path inside of the project"),
        ("n/" * 3000 + "a.mrc", "no path inside of the project"),
        ("J1/cut.mrc", "it was cut off"),
        ("J1/few.mrc", "holds 29 images, and .*particles.cs names number 30 of it"),
        ("J1/small.mrc", "holds images of 64 x 64 pixels, and .*particles.cs says 128 x 128"),
        ("J1/stack_0.tif", "no MRC stack"),
    ],
)
def test_a_stack_that_is_none_of_the_projects_is_one_sentence(
    tmp_path: Path, columns: dict[str, np.ndarray], project: Path, path: str, sentence: str
) -> None:
    (project / "J1/cut.mrc").write_bytes((project / "J1/stack_0.mrc").read_bytes()[:-5])
    mrc.write_atomically(project / "J1/few.mrc", np.zeros((ROWS - 1, BINNED_BOX, BINNED_BOX), np.float32), 2.5)
    mrc.write_atomically(project / "J1/small.mrc", np.zeros((ROWS, 64, 64), np.float32), 5.0)
    columns["blob/path"] = np.array([path] * ROWS)
    with pytest.raises(InputInvalid, match=sentence) as caught:
        run(tmp_path, columns, project=project)
    assert len(str(caught.value)) < 1000
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_a_star_file_cannot_name_is_refused(
    tmp_path: Path, columns: dict[str, np.ndarray], project: Path
) -> None:
    write_table(tmp_path / "particles.cs", columns)
    inputs = {"particles": tmp_path / "particles.cs", "project": project}
    with pytest.raises(InputInvalid, match="quotation mark"):
        run_map_job(KIND, tmp_path / 'my "out', inputs)


def test_alignments_come_from_the_passthrough_where_the_job_has_none_and_it_is_said(
    tmp_path: Path, columns: dict[str, np.ndarray]
) -> None:
    straight, wanted = run(tmp_path, columns)
    assert "those of 'alignments3D' in the job's own table." in said(straight)
    own = {name: values for name, values in columns.items() if not name.startswith("alignments3D/")}
    back = np.arange(ROWS)[::-1]
    passed = {name: values[back] for name, values in columns.items() if name not in own or name == "uid"}
    passed["ctf/df1_A"] = np.zeros(ROWS)
    passed["ctf/of_an_earlier_job"] = np.zeros(ROWS)
    write_table(tmp_path / "passed.cs", passed)
    write_table(tmp_path / "own.cs", own)
    with pytest.raises(InputInvalid, match="passthrough file of the same job"):
        run_map_job(KIND, tmp_path / "alone", {"particles": tmp_path / "own.cs"})
    inputs = {"particles": tmp_path / "own.cs", "passthrough": (tmp_path / "passed.cs",)}
    result, _ = run_map_job(KIND, tmp_path / "joined", inputs)
    found = starfile.read(tmp_path / "joined" / "particles.star")
    assert found["particles"].equals(wanted["particles"])
    assert "those of 'alignments3D' in the passthrough files. From the passthrough files come alignments3D." in said(
        result
    )


def test_an_older_pose_that_was_passed_through_never_wins(tmp_path: Path, columns: dict[str, np.ndarray]) -> None:
    older = {"uid": columns["uid"], "alignments3D/pose": np.zeros((ROWS, 3)), "alignments3D/class": np.arange(ROWS)}
    write_table(tmp_path / "passed.cs", older)
    _, found = run(tmp_path, columns, passthrough=(tmp_path / "passed.cs",))
    assert found["particles"]["rlnAngleTilt"].abs().max() > 90
    assert "rlnClassNumber" not in found["particles"]


def test_rows_that_the_passthrough_lacks_are_counted(tmp_path: Path, columns: dict[str, np.ndarray]) -> None:
    write_table(tmp_path / "passed.cs", {"uid": columns["uid"][3:], "location/x": np.zeros(ROWS - 3)})
    with pytest.raises(InputInvalid, match="3 of 30 rows are not in passthrough table 1"):
        run(tmp_path, columns, passthrough=(tmp_path / "passed.cs",))


def test_classes_are_read_only_when_they_are_asked_for(tmp_path: Path, columns: dict[str, np.ndarray]) -> None:
    multi = {
        "alignments3D_multi/pose": np.zeros((ROWS, 2, 3)),
        "alignments3D_multi/shift": np.zeros((ROWS, 2, 2)),
        "alignments3D_multi/class_posterior": np.tile([0.1, 0.9], (ROWS, 1)),
        "alignments3D_multi/psize_A": np.ones(ROWS),
    }
    result, found = run(tmp_path, {**columns, **multi})
    assert "those of 'alignments3D' in" in said(result)
    assert found["particles"]["rlnAngleTilt"].abs().max() > 90
    options = {"alignment": "classes"}
    result, _ = run_map_job(KIND, tmp_path / "classes", {"particles": tmp_path / "particles.cs"}, options)
    found = starfile.read(tmp_path / "classes" / "particles.star")
    assert (found["particles"]["rlnAngleTilt"] == 0).all()
    assert (found["particles"]["rlnClassNumber"] == 2).all()
    assert "those of 'alignments3D_multi' in" in said(result)
    assert "most probable class" in said(result)


def test_a_dihedral_group_turns_the_particles_and_says_so(tmp_path: Path, columns: dict[str, np.ndarray]) -> None:
    _, before = run(tmp_path, columns)
    result, _ = run_map_job(KIND, tmp_path / "d7", {"particles": tmp_path / "particles.cs"}, {"symmetry": "D7"})
    after = starfile.read(tmp_path / "d7" / "particles.star")
    assert result["metrics"]["turned_deg"] == -90
    assert "the two-fold is on y" in said(result)
    change = (after["particles"]["rlnAngleRot"] - before["particles"]["rlnAngleRot"]) % 360
    off_the_pole = before["particles"]["rlnAngleTilt"].between(1, 179)
    assert np.allclose(change[off_the_pole], 270, atol=1e-5)


def test_a_pickle_in_a_table_is_refused_and_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    table = np.array([(1, Trap())], dtype=[("uid", "<u8"), ("blob/path", object)])
    with (tmp_path / "particles.cs").open("wb") as file:
        np.save(file, table, allow_pickle=True)
    with pytest.raises(InputInvalid, match="no table"):
        run_map_job(KIND, tmp_path / "out", {"particles": tmp_path / "particles.cs"})
    assert not (tmp_path / "sprung").exists()
    assert not (tmp_path / "out").exists()
