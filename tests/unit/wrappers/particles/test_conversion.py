"""Particles there and back, against the formulas written out for one particle at a time."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import star
from cryobridge.wrappers.formats.cs_table import read_table
from cryobridge.wrappers.particles.from_cryosparc import relion_tables, star_blocks
from cryobridge.wrappers.particles.from_relion import cryosparc_table

ROWS = 6


@pytest.fixture
def columns() -> dict[str, np.ndarray]:
    """Particles of two exposure groups, binned by two after the refinement."""
    generator = np.random.default_rng(1)

    def draw(*shape: int) -> np.ndarray:
        return generator.uniform(-1, 1, (ROWS, *shape)).astype(np.float32)

    return {
        "uid": np.arange(100, 100 + ROWS, dtype=np.uint64),
        "blob/path": np.array([">J1/a.mrc", ">J1/b.mrc"] * 3),
        "blob/idx": np.arange(ROWS, dtype=np.uint32),
        "blob/shape": np.full((ROWS, 2), 64, np.uint32),
        "blob/psize_A": np.full(ROWS, 3.0, np.float32),
        "blob/sign": np.ones(ROWS, np.float32),
        "ctf/exp_group_id": np.array([907, 12, 907, 12, 12, 907], np.uint32),
        "ctf/accel_kv": np.full(ROWS, 300, np.float32),
        "ctf/cs_mm": np.full(ROWS, 2.7, np.float32),
        "ctf/amp_contrast": np.full(ROWS, 0.1, np.float32),
        "ctf/df1_A": 10_000 + 1000 * draw(),
        "ctf/df2_A": 9000 + 1000 * draw(),
        "ctf/df_angle_rad": draw(),
        "ctf/phase_shift_rad": 1 + draw(),
        "ctf/tilt_A": np.tile(np.array([[4000.0, -7000.0]], np.float32), (ROWS, 1)),
        "ctf/anisomag": np.tile(np.array([[0.01, 0.002, -0.003, -0.02]], np.float32), (ROWS, 1)),
        "alignments3D/pose": 2 * draw(3),
        "alignments3D/shift": 5 * draw(2),
        "alignments3D/psize_A": np.full(ROWS, 1.5, np.float32),
        "alignments3D/split": np.array([0, 1, 1, 0, 1, 0], np.uint32),
        "location/micrograph_path": np.array(["J0/m.mrc"] * ROWS),
        "location/micrograph_shape": np.tile(np.array([[4092, 5760]], np.uint32), (ROWS, 1)),
        "location/center_x_frac": np.linspace(0.1, 0.9, ROWS).astype(np.float32),
        "location/center_y_frac": np.linspace(0.8, 0.2, ROWS).astype(np.float32),
    }


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


def test_one_half_set_for_all_is_none(columns: dict[str, np.ndarray]) -> None:
    columns["alignments3D/split"][:] = 0
    tables = relion_tables(columns, "t.cs")
    assert "rlnRandomSubset" not in tables.particles
    assert any("one half-set" in line for line in tables.remarks)


def test_dark_particles_and_odd_aberrations_are_said(columns: dict[str, np.ndarray]) -> None:
    columns["blob/sign"][:] = -1
    columns["ctf/trefoil_A"] = np.full((ROWS, 2), 3.0, np.float32)
    columns["ctf/shift_A"] = np.full((ROWS, 2), 3.0, np.float32)
    remarks = " ".join(relion_tables(columns, "t.cs").remarks)
    assert all(word in remarks for word in ("dark on bright", "Trefoil", "Image shifts"))


def test_the_most_probable_class_is_taken_only_when_asked_for(columns: dict[str, np.ndarray]) -> None:
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
        old |= {f"alignments_class_{number}/{name}": values for name, values in part.items()}
    again = relion_tables(old, "t.cs", "classes").particles
    assert all(np.array_equal(again[label], values) for label, values in found.items())


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
    back = cryosparc_table(star.read(tmp_path / "p.star"), "p.star", turned_deg=-turned_deg).columns
    for name in ("blob/idx", "blob/shape", "alignments3D/split"):
        assert np.array_equal(back[name], columns[name]), name
    for name in ("df1_A", "df2_A", "df_angle_rad", "phase_shift_rad", "accel_kv", "cs_mm", "amp_contrast", "anisomag"):
        assert np.allclose(back[f"ctf/{name}"], columns[f"ctf/{name}"], rtol=2e-6, atol=2e-6), name
    assert np.allclose(back["ctf/tilt_A"], columns["ctf/tilt_A"], rtol=2e-5)
    in_A = back["alignments3D/shift"] * back["alignments3D/psize_A"][:, None]
    assert np.allclose(in_A, columns["alignments3D/shift"] * 1.5, atol=1e-5)
    assert np.allclose(back["alignments3D/pose"], columns["alignments3D/pose"], atol=1e-6)
    assert back["blob/path"].tolist() == [path.lstrip(">") for path in columns["blob/path"]]
    # The ids are another's, but one for each.
    assert len(set(back["uid"].tolist())) == ROWS


def test_relion_3_0_counts_in_pixels_and_gives_the_pixel_size_by_the_detector(tmp_path: Path) -> None:
    (tmp_path / "p.star").write_text(
        "data_\n\nloop_\n_rlnImageName\n_rlnAngleRot\n_rlnAngleTilt\n_rlnAnglePsi\n_rlnOriginX\n_rlnOriginY\n"
        "_rlnDetectorPixelSize\n_rlnMagnification\n1@a.mrcs 10 20 30 1.5 -2 5.0 10000\n"
    )
    found = cryosparc_table(star.read(tmp_path / "p.star"), "p.star", box=64).columns
    assert found["blob/psize_A"].tolist() == [5.0]
    assert found["alignments3D/shift"].tolist() == [[1.5, -2.0]]
    assert "ctf/df1_A" not in found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("data_\n\nloop_\n_rlnMicrographName\na.mrc\n", "no table of particles"),
        ("data_\n\nloop_\n_rlnImageName\na.mrcs\n", "no image of a stack"),
        ("data_\n\nloop_\n_rlnImageName\n1@a.mrcs\n", "pixel size"),
        ("data_\n\nloop_\n_rlnImageName\n_rlnImagePixelSize\n1@a.mrcs 1.0\n", "how large"),
        ("data_\n\nloop_\n_rlnImageName\n_rlnCtfImage\n1@a.mrcs b.mrc\n", "subtomograms"),
        ("data_\n\nloop_\n_rlnImageName\n_rlnImagePixelSize\n_rlnImageSize\n1@a.mrcs x 64\n", "not a number"),
        ("data_\n\nloop_\n_rlnImageName\n_rlnImagePixelSize\n_rlnImageSize\n1@a.mrcs nan 64\n", "not finite"),
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
        cryosparc_table(star.read(tmp_path / "p.star"), "p.star")
    assert "p.star" in str(caught.value)


@pytest.mark.shared
def test_the_truth_of_a_simulated_refinement(shared: Path) -> None:
    """Angles and origins that the images were made with, known by another way."""
    project = shared / "cryosparc-standin/sample/CS-bridge-demo"
    truth = json.loads((project / "truth.json").read_text())
    found = relion_tables(read_table(project / "J1/J1_003_particles.cs"), "J1").particles
    for label, values in truth.items():
        assert np.abs(found[label] - np.array(values)).max() < 1e-4, label
