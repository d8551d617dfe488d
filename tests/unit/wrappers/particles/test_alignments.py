"""Which of a table's alignments is taken, and its half-sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.particle_tables import HEAD, ROWS

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.cs_table import read_table, write_table
from cryobridge.wrappers.formats.star_columns import read_columns
from cryobridge.wrappers.particles.from_cryosparc import relion_tables
from cryobridge.wrappers.particles.from_relion import cryosparc_table, is_read


def test_one_half_set_for_all_is_none(columns: dict[str, np.ndarray]) -> None:
    columns["alignments3D/split"][:] = 0
    tables = relion_tables(columns, "t.cs")
    assert "rlnRandomSubset" not in tables.particles
    assert any("one half-set" in line for line in tables.remarks)


@pytest.mark.parametrize("called", ["alignments_class_", "alignments_class3D_"])
def test_the_most_probable_class_is_taken_only_when_asked_for(columns: dict[str, np.ndarray], called: str) -> None:
    posterior = np.array([[0.2, 0.8], [0.9, 0.1]] * 3, np.float32)
    poses = np.stack([columns["alignments3D/pose"], -columns["alignments3D/pose"]], axis=1)
    multi = {
        "class_posterior": posterior,
        "pose": poses,
        "shift": np.stack([columns["alignments3D/shift"]] * 2, axis=1),
        "psize_A": columns["alignments3D/psize_A"],
        "split": columns["alignments3D/split"],
    }
    with_classes = {**columns, **{f"alignments3D_multi/{name}": values for name, values in multi.items()}}
    best = np.array([1, 0] * 3)
    expected = relion_tables({**columns, "alignments3D/pose": poses[np.arange(ROWS), best]}, "t.cs").particles
    found = relion_tables(with_classes, "t.cs", "classes").particles
    assert np.allclose(found["rlnAngleTilt"], expected["rlnAngleTilt"])
    assert found["rlnClassNumber"].tolist() == (best + 1).tolist()
    assert "rlnClassNumber" not in relion_tables(with_classes, "t.cs").particles

    old = dict(columns)
    for number in range(2):
        part = {name: values[:, number] for name, values in multi.items() if values.ndim > 1}
        part |= {"psize_A": multi["psize_A"], "split": multi["split"]}
        old |= {f"{called}{number}/{name}": values for name, values in part.items()}
    again = relion_tables(old, "t.cs", "classes").particles
    assert all(np.array_equal(again[label], values) for label, values in found.items())


def old_class(columns: dict[str, np.ndarray], slot: str, probable: float, psize_A: float) -> dict[str, np.ndarray]:
    there = {part: columns[f"alignments3D/{part}"] for part in ("pose", "shift", "split")}
    there |= {"class_posterior": np.full(ROWS, probable), "psize_A": np.full(ROWS, psize_A)}
    return {f"{slot}/{part}": values for part, values in there.items()}


def test_slots_of_the_job_itself_come_before_those_it_passed_through_and_each_class_has_its_pixels(
    columns: dict[str, np.ndarray],
) -> None:
    own = old_class(columns, "alignments_class_2", 0.2, 3.0) | old_class(columns, "alignments_class_5", 0.8, 2.0)
    passed = old_class(columns, "alignments_class3D_0", 1.0, 9.0)
    found = relion_tables({**columns, **own, **passed}, "t.cs", "classes")
    assert found.slot == "alignments_class_2"
    assert found.particles["rlnClassNumber"].tolist() == [6] * ROWS
    assert np.allclose(found.particles["rlnOriginXAngst"], 2.0 * columns["alignments3D/shift"][:, 0])


def test_one_class_needs_no_probability(columns: dict[str, np.ndarray]) -> None:
    one = old_class(columns, "alignments_class_0", 1.0, 1.5)
    del one["alignments_class_0/class_posterior"]
    found = relion_tables({**columns, **one}, "t.cs", "classes").particles
    assert np.array_equal(found["rlnAngleRot"], relion_tables(columns, "t.cs").particles["rlnAngleRot"])


@pytest.mark.parametrize("era", ["old", "new"])
def test_particles_of_several_equally_probable_classes_are_counted(columns: dict[str, np.ndarray], era: str) -> None:
    posterior = np.array([[0.2, 0.4, 0.4], [0.4, 0.4, 0.2], [0.1, 0.1, 0.8], [0, 0, 0], [1, 0, 0], [0, 1, 0]])
    slot = "alignments3D_multi"
    if era == "old":
        for number in range(3):
            columns |= old_class(columns, f"alignments_class_{number}", 0.0, 1.5)
            columns[f"alignments_class_{number}/class_posterior"] = posterior[:, number]
    else:
        columns[f"{slot}/pose"] = np.stack([columns["alignments3D/pose"]] * 3, axis=1)
        columns[f"{slot}/shift"] = np.stack([columns["alignments3D/shift"]] * 3, axis=1)
        columns |= {f"{slot}/class_posterior": posterior, f"{slot}/psize_A": columns["alignments3D/psize_A"]}
    found = relion_tables(columns, "t.cs", "classes")
    assert found.particles["rlnClassNumber"].tolist() == [2, 1, 3, 1, 1, 2]
    assert any(line.startswith("3 particles are as probable in another class") for line in found.remarks)


def test_no_classes_at_all_are_refused(columns: dict[str, np.ndarray]) -> None:
    empty = {"pose": np.zeros((ROWS, 0, 3)), "shift": np.zeros((ROWS, 0, 2)), "class_posterior": np.zeros((ROWS, 0))}
    columns |= {f"alignments3D_multi/{part}": values for part, values in empty.items()}
    with pytest.raises(InputInvalid, match="has no classes"):
        relion_tables(columns, "t.cs", "classes")


def test_classes_are_named_where_a_refinement_was_asked_for(columns: dict[str, np.ndarray]) -> None:
    poses = columns.pop("alignments3D/pose")
    columns["alignments_class_0/pose"] = poses
    with pytest.raises(InputInvalid, match="'alignment: classes' takes the most probable one"):
        relion_tables(columns, "t.cs")


def test_the_slot_that_was_taken_is_told(columns: dict[str, np.ndarray]) -> None:
    assert relion_tables(columns, "t.cs").slot == "alignments3D"
    without = relion_tables(columns, "t.cs", "none")
    assert without.slot == ""
    assert "rlnAngleRot" not in without.particles


@pytest.mark.filterwarnings("ignore:Stored array in format 2.0")
def test_a_hundred_classes_of_an_old_table_are_read(columns: dict[str, np.ndarray], tmp_path: Path) -> None:
    for number in range(100):
        columns |= {
            f"alignments_class_{number}/{field}": columns[f"alignments3D/{field}"] * (number == 70)
            for field in ("pose", "shift")
        }
        columns |= {
            f"alignments_class_{number}/class_posterior": np.full(ROWS, float(number == 70)),
            f"alignments_class_{number}/psize_A": columns["alignments3D/psize_A"],
            f"alignments_class_{number}/split": columns["alignments3D/split"],
        } | {f"alignments_class_{number}/some_other_field_{one}": np.zeros(ROWS) for one in range(13)}
    write_table(tmp_path / "t.cs", columns)
    found = relion_tables(read_table(tmp_path / "t.cs"), "t.cs", "classes").particles
    assert found["rlnClassNumber"].tolist() == [71] * ROWS
    assert np.array_equal(found["rlnAngleTilt"], relion_tables(columns, "t.cs").particles["rlnAngleTilt"])


def test_copies_of_one_image_are_said(columns: dict[str, np.ndarray]) -> None:
    columns["blob/idx"][:] = 0
    assert any(line.startswith("4 particles have an image") for line in relion_tables(columns, "t.cs").remarks)


def test_copies_of_an_image_in_both_half_sets_are_counted(columns: dict[str, np.ndarray]) -> None:
    columns["blob/idx"][:] = [0, 0, 0, 1, 2, 2]
    # a.mrc: 0 in half-sets 0 and 1; b.mrc: 0 and 1 in one each.
    columns["alignments3D/split"][:] = [0, 0, 1, 1, 1, 1]
    found = relion_tables(columns, "t.cs")
    assert any(line.startswith("1 images have copies in both half-sets") for line in found.remarks)
    assert found.particles["rlnRandomSubset"].tolist() == [1, 1, 2, 2, 2, 2]


def test_copies_of_an_image_stay_together_where_half_sets_must_be_drawn(
    columns: dict[str, np.ndarray], tmp_path: Path
) -> None:
    columns["blob/idx"][:] = [0, 0, 0, 0, 2, 2]
    columns["alignments3D/split"][:] = 0
    found = relion_tables(columns, "t.cs")
    assert found.particles["rlnRandomSubset"].tolist() == [1, 2, 1, 2, 1, 2]
    assert any("new ones are drawn" in line for line in found.remarks)
    rows = "".join(f"{number}@a.mrcs 1.0 64 0 {number} 0\n" for number in (4, 4, 9, 9, 4, 7))
    (tmp_path / "p.star").write_text(HEAD + rows)
    back = cryosparc_table(read_columns(tmp_path / "p.star", is_read), "p.star").columns
    assert back["alignments3D/split"].tolist() == [0, 0, 1, 1, 0, 0]


def test_copies_of_an_image_in_both_of_relions_half_sets_are_counted(tmp_path: Path) -> None:
    head = HEAD + "_rlnRandomSubset\n"
    (tmp_path / "p.star").write_text(f"{head}1@a.mrcs 1 64 0 9 0 1\n1@a.mrcs 1 64 0 8 0 2\n2@a.mrcs 1 64 0 7 0 2\n")
    found = cryosparc_table(read_columns(tmp_path / "p.star", is_read), "p.star")
    assert any(line.startswith("1 images have copies in both half-sets") for line in found.remarks)


@pytest.mark.parametrize("turned_deg", [0.0, -90.0])
def test_poses_that_a_search_begins_with_are_said(columns: dict[str, np.ndarray], turned_deg: float) -> None:
    columns["alignments3D/pose"][:] = 0
    found = relion_tables(columns, "t.cs", turned_deg=turned_deg)
    assert any(line.startswith("All 6 particles have one and the same view, so they") for line in found.remarks)
