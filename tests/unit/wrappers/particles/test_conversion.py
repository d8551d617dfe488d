"""Particles there and back, against the formulas written out for one particle at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.particle_tables import CTF_HEAD, HEAD, ROWS

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import star
from cryobridge.wrappers.formats.cs_table import read_table
from cryobridge.wrappers.formats.star_columns import read_columns
from cryobridge.wrappers.particles.from_cryosparc import relion_tables, star_blocks
from cryobridge.wrappers.particles.from_relion import cryosparc_table, is_read


def test_every_number_follows_its_formula(columns: dict[str, np.ndarray]) -> None:
    found = relion_tables(columns, "t.cs").particles
    for row in range(ROWS):
        assert found["rlnImageName"][row] == f"{row + 1:06d}@J1/{'ab'[row % 2]}.mrc"
        assert found["rlnDefocusU"][row] == columns["ctf/df1_A"][row]
        assert found["rlnDefocusV"][row] == columns["ctf/df2_A"][row]
        assert math.isclose(found["rlnDefocusAngle"][row], math.degrees(columns["ctf/df_angle_rad"][row]), rel_tol=1e-7)
        assert math.isclose(
            found["rlnPhaseShift"][row], math.degrees(columns["ctf/phase_shift_rad"][row]), rel_tol=1e-7
        )
        for axis, label in enumerate(("rlnOriginXAngst", "rlnOriginYAngst")):
            # Pixels of the alignment, not of the binned images.
            assert math.isclose(found[label][row], 1.5 * float(columns["alignments3D/shift"][row, axis]), rel_tol=1e-7)
        assert found["rlnRandomSubset"][row] == columns["alignments3D/split"][row] + 1
        assert math.isclose(found["rlnCoordinateX"][row], float(columns["location/center_x_frac"][row]) * 5760)
        assert math.isclose(found["rlnCoordinateY"][row], float(columns["location/center_y_frac"][row]) * 4092)
        third = [
            math.sin(math.radians(found["rlnAngleTilt"][row])) * part
            for part in (
                math.cos(math.radians(found["rlnAngleRot"][row])),
                math.sin(math.radians(found["rlnAngleRot"][row])),
            )
        ]
        theta = columns["alignments3D/pose"][row].astype(float)
        assert np.allclose(third, _third_row_of_transposed(theta)[:2], atol=1e-6)


def _third_row_of_transposed(vector: np.ndarray) -> np.ndarray:
    """R e_z, by Rodrigues' formula for a vector: v cos + (k x v) sin + k (k.v)(1 - cos)."""
    angle = np.linalg.norm(vector)
    k, v = vector / angle, np.array([0.0, 0.0, 1.0])
    return v * math.cos(angle) + np.cross(k, v) * math.sin(angle) + k * (k @ v) * (1 - math.cos(angle))


def test_exposure_groups_become_optics_groups_in_the_order_of_their_first_particle(
    columns: dict[str, np.ndarray],
) -> None:
    tables = relion_tables(columns, "t.cs")
    assert tables.particles["rlnOpticsGroup"].tolist() == [1, 2, 1, 2, 2, 1]
    optics = tables.optics
    assert optics["rlnOpticsGroup"].tolist() == [1, 2]
    assert optics["rlnImagePixelSize"].tolist() == [3.0, 3.0]
    assert optics["rlnImageSize"].tolist() == [64, 64]
    assert np.allclose(optics["rlnBeamTiltX"], 1e3 * math.asin(4000 / 2.7e7))
    assert np.allclose(optics["rlnBeamTiltY"], 1e3 * math.asin(-7000 / 2.7e7))
    matrix = [optics[f"rlnMagMat{a}{b}"][0] for a in range(2) for b in range(2)]
    assert np.allclose(matrix, [1.01, 0.002, -0.003, 0.98])


def test_one_group_of_two_pixel_sizes_becomes_two(columns: dict[str, np.ndarray]) -> None:
    columns["blob/psize_A"][3:] = 1.5
    assert len(relion_tables(columns, "t.cs").optics["rlnOpticsGroup"]) == 4


def test_dark_particles_and_odd_aberrations_are_said(columns: dict[str, np.ndarray]) -> None:
    columns["blob/sign"][:] = -1
    columns["ctf/trefoil_A"] = np.full((ROWS, 2), 3.0, np.float32)
    columns["ctf/shift_A"] = np.full((ROWS, 2), 3.0, np.float32)
    remarks = " ".join(relion_tables(columns, "t.cs").remarks)
    assert all(word in remarks for word in ("dark on bright", "Trefoil", "Image shifts"))


def test_a_tilt_without_aberration_is_left_out_and_one_beyond_a_right_angle_refused(
    columns: dict[str, np.ndarray],
) -> None:
    columns["ctf/cs_mm"][:] = 0
    tables = relion_tables(columns, "t.cs")
    assert "rlnBeamTiltX" not in tables.optics
    assert any("Beam tilts" in line and "left out" in line for line in tables.remarks)
    columns["ctf/cs_mm"][:] = 1e-4
    with pytest.raises(InputInvalid, match="fit the tilt again"):
        relion_tables(columns, "t.cs")


def test_a_missing_ctf_is_said_by_its_column(columns: dict[str, np.ndarray]) -> None:
    del columns["ctf/cs_mm"], columns["ctf/tilt_A"]
    tables = relion_tables(columns, "t.cs")
    assert any("'ctf/cs_mm'" in line for line in tables.remarks)
    assert "rlnSphericalAberration" not in tables.optics


def test_angles_of_a_2d_classification_are_said(tmp_path: Path) -> None:
    (tmp_path / "p.star").write_text(f"{HEAD}1@a.mrcs 1.0 64 0 0 30\n2@a.mrcs 1.0 64 0 0 70\n")
    found = cryosparc_table(read_columns(tmp_path / "p.star", is_read), "p.star")
    assert any("not aligned in 3D" in line for line in found.remarks)


def test_particles_without_micrographs_are_converted_without_coordinates(columns: dict[str, np.ndarray]) -> None:
    columns["location/micrograph_path"] = np.array(["J0/m.mrc"] * 5 + [""])
    found = relion_tables(columns, "t.cs")
    assert "rlnMicrographName" not in found.particles
    assert "rlnCoordinateX" not in found.particles
    assert any(line.startswith("Coordinates are left out") for line in found.remarks)


def test_a_voltage_of_0_is_said(columns: dict[str, np.ndarray], tmp_path: Path) -> None:
    columns["ctf/accel_kv"][:] = 0
    assert any(line.startswith("Particles have a voltage of 0") for line in relion_tables(columns, "t.cs").remarks)
    (tmp_path / "p.star").write_text(f"{HEAD}{CTF_HEAD}1@a.mrcs 1.0 64 0 0 0 1 1 1 0 2.7 0.1\n")
    found = cryosparc_table(read_columns(tmp_path / "p.star", is_read), "p.star")
    assert any(line.startswith("Particles have a voltage of 0") for line in found.remarks)


def test_some_dark_particles_among_bright_ones_are_said(columns: dict[str, np.ndarray]) -> None:
    columns["blob/sign"][2] = -1
    assert any(line.startswith("1 of 6 particles are dark") for line in relion_tables(columns, "t.cs").remarks)


def test_no_value_of_an_optics_group_differs_within_it(columns: dict[str, np.ndarray]) -> None:
    """Every value that RELION keeps for a group makes a group of its own."""
    for column in ("blob/psize_A", "ctf/accel_kv", "ctf/cs_mm", "ctf/amp_contrast", "ctf/tilt_A", "ctf/anisomag"):
        changed = {**columns, column: columns[column].copy()}
        changed[column][3] *= 1.5
        tables = relion_tables(changed, "t.cs")
        assert tables.particles["rlnOpticsGroup"].tolist() == [1, 2, 1, 3, 2, 1], column
    changed = {**columns, "blob/shape": columns["blob/shape"].copy()}
    changed["blob/shape"][3] = 48
    assert relion_tables(changed, "t.cs").optics["rlnImageSize"].tolist() == [64, 64, 48]


WRONG = [
    ("alignments3D/pose", lambda one: one[:, :2], "3 numbers a particle"),
    ("alignments3D/pose", lambda one: one * 1e9, "no rotation in radians"),
    ("alignments3D/pose", lambda one: np.where(np.arange(ROWS)[:, None] == 4, np.inf, one), "of particle 5 of 6"),
    ("alignments3D/shift", lambda one: one.astype("S8"), "2 numbers a particle"),
    ("alignments3D/psize_A", lambda one: one * 0, "no pixel size"),
    ("alignments3D/split", lambda one: one + 1, "no half-set"),
    ("blob/psize_A", lambda one: -one, "no pixel size"),
    ("blob/psize_A", lambda one: one * 1e-8, "no pixel size"),
    ("blob/shape", lambda one: one + 2**20, "square"),
    ("alignments3D/split", lambda one: one % 2 * 2 + one // 2, "no half-set"),
    ("blob/idx", lambda one: one.astype(float) - 0.5, "no count"),
    ("blob/shape", lambda one: one * np.array([1, 2]), "square"),
    ("blob/path", lambda one: np.arange(ROWS), "a text a particle"),
    ("blob/path", lambda one: np.array(["a\nb.mrc"] * ROWS), "no path"),
    ("blob/path", lambda one: np.array(["J1/../../b.mrc"] * ROWS), "no path of a stack in the project"),
    ("blob/path", lambda one: np.array([""] * ROWS), "no path"),
    ("ctf/accel_kv", lambda one: one * np.nan, "no number"),
    ("ctf/accel_kv", lambda one: -one, "no voltage"),
    ("ctf/amp_contrast", lambda one: one * 100, "no amplitude contrast"),
    ("ctf/cs_mm", lambda one: one * 1e7, "no spherical aberration"),
    ("ctf/anisomag", lambda one: one[:, :3], "4 numbers a particle"),
    ("location/micrograph_shape", lambda one: one[:, 0], "2 numbers a particle"),
]


@pytest.mark.parametrize(("column", "change", "sentence"), WRONG)
def test_a_column_that_cannot_be_one_is_one_sentence(
    columns: dict[str, np.ndarray], column: str, change: Callable[[np.ndarray], np.ndarray], sentence: str
) -> None:
    columns[column] = change(columns[column])
    with pytest.raises(InputInvalid, match=sentence) as caught:
        relion_tables(columns, "t.cs")
    assert str(caught.value).startswith("t.cs: ")
    assert column in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "gone", ["blob/idx", "blob/shape", "blob/psize_A", "alignments3D/shift", "alignments3D/psize_A"]
)
def test_a_missing_column_of_a_slot_is_named(columns: dict[str, np.ndarray], gone: str) -> None:
    del columns[gone]
    with pytest.raises(InputInvalid, match=f"no column '{gone}'"):
        relion_tables(columns, "t.cs")


def test_no_particles_are_refused(columns: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputInvalid, match="no particles"):
        relion_tables({name: values[:0] for name, values in columns.items()}, "t.cs")


@pytest.mark.parametrize(("gone", "sentence"), [("blob/path", "passthrough"), ("alignments3D/pose", "passthrough")])
def test_what_is_in_the_passthrough_file_is_asked_for(columns: dict[str, np.ndarray], gone: str, sentence: str) -> None:
    del columns[gone]
    with pytest.raises(InputInvalid, match=sentence):
        relion_tables(columns, "t.cs")


def test_a_number_that_is_none_is_refused_with_its_particle(columns: dict[str, np.ndarray]) -> None:
    columns["alignments3D/shift"][2, 1] = np.nan
    with pytest.raises(InputInvalid, match=r"alignments3D/shift. of particle 3 of 6 \(uid 102\)"):
        relion_tables(columns, "t.cs")


@pytest.mark.parametrize("turned_deg", [0.0, 90.0])
def test_there_and_back_through_a_star_file(columns: dict[str, np.ndarray], tmp_path: Path, turned_deg: float) -> None:
    tables = relion_tables(columns, "t.cs", turned_deg=turned_deg)
    star.write_atomically(tmp_path / "p.star", star_blocks(tables))
    back = cryosparc_table(read_columns(tmp_path / "p.star", is_read), "p.star", turned_deg=-turned_deg).columns
    for name in ("blob/idx", "blob/shape", "alignments3D/split"):
        assert np.array_equal(back[name], columns[name]), name
    for name in ("df1_A", "df2_A", "df_angle_rad", "phase_shift_rad", "accel_kv", "cs_mm", "amp_contrast", "anisomag"):
        assert np.allclose(back[f"ctf/{name}"], columns[f"ctf/{name}"], rtol=2e-6, atol=2e-6), name
    assert np.allclose(back["ctf/tilt_A"], columns["ctf/tilt_A"], rtol=2e-5)
    in_A = back["alignments3D/shift"] * back["alignments3D/psize_A"][:, None]
    assert np.allclose(in_A, columns["alignments3D/shift"] * 1.5, atol=1e-5)
    assert np.allclose(back["alignments3D/pose"], columns["alignments3D/pose"], atol=1e-6)
    assert back["blob/path"].tolist() == [path.lstrip(">") for path in columns["blob/path"]]
    assert back["uid"].tolist() == columns["uid"].tolist()


def test_relion_3_0_counts_in_pixels_and_gives_the_pixel_size_by_the_detector(tmp_path: Path) -> None:
    (tmp_path / "p.star").write_text(
        "data_\n\nloop_\n_rlnImageName\n_rlnAngleRot\n_rlnAngleTilt\n_rlnAnglePsi\n_rlnOriginX\n_rlnOriginY\n"
        "_rlnDetectorPixelSize\n_rlnMagnification\n1@a.mrcs 10 20 30 1.5 -2 5.0 10000\n"
    )
    found = cryosparc_table(read_columns(tmp_path / "p.star", is_read), "p.star", box=64).columns
    assert found["blob/psize_A"].tolist() == [5.0]
    assert found["alignments3D/shift"].tolist() == [[1.5, -2.0]]
    assert "ctf/df1_A" not in found


def test_files_without_groups_get_an_exposure_group_for_each_optics(tmp_path: Path) -> None:
    rows = "".join(
        f"{row + 1}@a.mrcs 1.0 64 10 20 30 10000 9000 5 300 2.7 0.1 {tilt}\n"
        for row, tilt in enumerate((0, 1.5, 0, 1.5))
    )
    (tmp_path / "p.star").write_text(f"{HEAD}{CTF_HEAD}_rlnBeamTiltX\n{rows}")
    found = cryosparc_table(read_columns(tmp_path / "p.star", is_read), "p.star").columns
    assert found["ctf/exp_group_id"].tolist() == [1, 2, 1, 2]
    assert np.allclose(found["ctf/tilt_A"][:, 0], [0, 2.7e7 * math.sin(1.5e-3)] * 2, rtol=1e-6)


def test_what_a_ctf_lacks_is_named_and_two_particles_of_one_name_keep_two_ids(tmp_path: Path) -> None:
    heads = HEAD + CTF_HEAD.replace("_rlnSphericalAberration\n", "")
    rows = "7@a.mrcs 1.0 64 10 20 30 10000 9000 5 300 0.1\n" * 2
    (tmp_path / "p.star").write_text(heads + rows)
    found = cryosparc_table(read_columns(tmp_path / "p.star", is_read), "p.star")
    assert "ctf/df1_A" not in found.columns
    assert any("rlnSphericalAberration" in line for line in found.remarks)
    assert any(line.startswith("1 particles are named like") for line in found.remarks)
    assert len(set(found.columns["uid"].tolist())) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("data_\n\nloop_\n_rlnMicrographName\na.mrc\n", "no table of particles"),
        ("data_\n\nloop_\n_rlnImageName\na.mrcs\n", "no image of a stack"),
        ("data_\n\nloop_\n_rlnImageName\n1@a.mrcs\n", "pixel size"),
        ("data_\n\nloop_\n_rlnImageName\n_rlnImagePixelSize\n1@a.mrcs 1.0\n", "how large"),
        ("data_\n\nloop_\n_rlnImageName\n_rlnCtfImage\n1@a.mrcs b.mrc\n", "subtomograms"),
        ("data_\n\nloop_\n_rlnTomoName\n_rlnTomoParticleName\na b\n", "subtomograms"),
        ("data_\n\nloop_\n_rlnImageName\n_rlnMicrographName\nsub/a.mrc TS_1.tomostar\n", "subtomograms"),
        ("data_\n\nloop_\n_rlnImageName\n_rlnImagePixelSize\n1@a.mrcs 1_0\n", "'1_0' in row 1, which is not a number"),
        ("data_\n\nloop_\n_rlnImageName\n_rlnImagePixelSize\n_rlnImageSize\n1@a.mrcs x 64\n", "not a number"),
        ("data_\n\nloop_\n_rlnImageName\n_rlnImagePixelSize\n_rlnImageSize\n1@a.mrcs nan 64\n", "not finite"),
        (f"{HEAD}1@a.mrcs 1.0 64 0 -999 0\n", "rlnAngleTilt' in row 1 is -999"),
        (f"{HEAD}1@a.mrcs 1.0 64 0 0 0\n2@a.mrcs 1.0 64 0 1e9 0\n", "rlnAngleTilt' in row 2 is no angle"),
        (f"{HEAD}1@a.mrcs 1.0 64 0 0 0\n2@a.mrcs 1.0 64 0 abc 0\n", "'abc' in row 2, which is not a number"),
        (f"{HEAD}1@a.mrcs 1.0 -4 0 0 0\n", "no size of an image"),
        (f"{HEAD}_rlnClassNumber\n1@a.mrcs 1.0 64 0 0 0 1.5\n", "no number of a class"),
        (f"{HEAD}_rlnClassNumber\n1@a.mrcs 1.0 64 0 0 0 1e15\n", "no number of a class"),
        (f"{HEAD}{CTF_HEAD}1@a.mrcs 1.0 64 0 0 0 1 1 1 -300 2.7 0.1\n", "no voltage"),
        (f"{HEAD}{CTF_HEAD}1@a.mrcs 1.0 64 0 0 0 1 1 1 300 2.7 7\n", "no amplitude contrast"),
        (f"{HEAD}{CTF_HEAD}_rlnBeamTiltX\n1@a.mrcs 1.0 64 0 0 0 1 1 1 300 2.7 0.1 1e5\n", "no tilt in mrad"),
        (f"{HEAD}1@a.mrcs 1.0 64.5 0 0 0\n", "no size of an image"),
        (f"{HEAD}99999999999999999999999@a.mrcs 1.0 64 0 0 0\n", "no image of a stack"),
        (
            "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n_rlnImageSize\n1 1.0 64\n2 1.0 64\n\n"
            "data_particles\n\nloop_\n_rlnImageName\n1@a.mrcs\n",
            "'rlnOpticsGroup' is missing",
        ),
        (
            "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n_rlnImageSize\n1 1.0 64\n1 2.0 64\n\n"
            "data_particles\n\nloop_\n_rlnImageName\n_rlnOpticsGroup\n1@a.mrcs 1\n",
            "two groups of one number",
        ),
        (
            "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n_rlnImageSize\n_rlnImageDimensionality\n"
            "1 1.0 64 3\n\ndata_particles\n\nloop_\n_rlnImageName\n_rlnOpticsGroup\n1@a.mrcs 1\n",
            "subtomograms",
        ),
        (
            "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n_rlnImageSize\n1 1.0 64\n\n"
            "data_particles\n\nloop_\n_rlnImageName\n_rlnOpticsGroup\n1@a.mrcs 2\n",
            "optics group 2",
        ),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "p.star").write_text(text)
    with pytest.raises(InputInvalid, match=sentence) as caught:
        cryosparc_table(read_columns(tmp_path / "p.star", is_read), "p.star")
    assert "p.star" in str(caught.value)


@pytest.mark.shared
def test_the_truth_of_a_simulated_refinement(shared: Path) -> None:
    """Angles and origins that the images were made with, known by another way."""
    project = shared / "cryosparc-standin/sample/CS-bridge-demo"
    truth = json.loads((project / "truth.json").read_text())
    found = relion_tables(read_table(project / "J1/J1_003_particles.cs"), "J1").particles
    for label, values in truth.items():
        assert np.abs(found[label] - np.array(values)).max() < 1e-4, label
