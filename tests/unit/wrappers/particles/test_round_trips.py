"""There and back in both directions, for poses of every sort; rotations are scipy's, by the formula R = exp([v]x)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from cryobridge.wrappers.formats import star
from cryobridge.wrappers.formats.cs_table import read_table, write_table
from cryobridge.wrappers.formats.star_columns import read_columns
from cryobridge.wrappers.particles.from_cryosparc import relion_tables, star_blocks
from cryobridge.wrappers.particles.from_relion import cryosparc_table, is_read

ANGLE = st.sampled_from([-180.0, -90.0, 0.0, 90.0, 180.0]) | st.floats(-180, 180)
TILT = st.sampled_from([0.0, 1e-6, 1e-3, 90.0, 179.999, 180.0]) | st.floats(0, 180)
VECTOR = st.tuples(*(st.floats(-1, 1) for _ in range(3))).filter(lambda one: np.linalg.norm(one) > 1e-3)
LENGTH = st.sampled_from([0.0, 1e-6, np.pi - 1e-6, np.pi, np.pi + 1e-6, 2 * np.pi]) | st.floats(0, 2 * np.pi)
SHIFT = st.tuples(st.floats(-50, 50), st.floats(-50, 50))
TRIES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def exponential(vector: np.ndarray) -> np.ndarray:
    """The matrix of a rotation vector by its series, not by anything that knows of rotations."""
    x, y, z = vector
    found: np.ndarray = expm(np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]))
    return found


def relion_matrix(angles: np.ndarray) -> np.ndarray:
    return Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().T


def columns_of(pose: np.ndarray, shift: np.ndarray, psize_A: float) -> dict[str, np.ndarray]:
    rows = len(pose)
    return {
        "uid": np.arange(rows, dtype=np.uint64),
        "blob/path": np.array(["J1/a.mrc"] * rows),
        "blob/idx": np.arange(rows, dtype=np.uint32),
        "blob/shape": np.full((rows, 2), 64, np.uint32),
        "blob/psize_A": np.full(rows, 3.0, np.float32),
        "alignments3D/pose": pose,
        "alignments3D/shift": shift,
        "alignments3D/psize_A": np.full(rows, psize_A),
        "alignments3D/split": (np.arange(rows) % 2).astype(np.uint32),
    }


@TRIES
@given(VECTOR, LENGTH, SHIFT, st.floats(0.3, 10))
def test_vectors_become_the_angles_of_the_transposed_exponential_and_come_back(
    tmp_path: Path, axis: tuple[float, ...], length: float, shift: tuple[float, float], psize_A: float
) -> None:
    pose = np.array([axis]) / np.linalg.norm(axis) * length
    write_table(tmp_path / "p.cs", columns_of(pose, np.array([shift]), psize_A))
    tables = relion_tables(read_table(tmp_path / "p.cs"), "p.cs")
    angles = np.array([tables.particles[f"rlnAngle{one}"][0] for one in ("Rot", "Tilt", "Psi")])
    wanted = exponential(pose[0])
    assert np.abs(relion_matrix(angles) - wanted.T).max() < 3e-7
    star.write_atomically(tmp_path / "p.star", star_blocks(tables))
    back = cryosparc_table(read_columns(tmp_path / "p.star", is_read), "p.star").columns
    vector = back["alignments3D/pose"][0].astype(np.float64)
    assert np.linalg.norm(vector) < np.pi + 1e-6
    assert np.abs(exponential(vector) - wanted).max() < 1e-6
    in_A = back["alignments3D/shift"][0] * back["alignments3D/psize_A"][0]
    assert np.abs(in_A - np.array(shift) * psize_A).max() < 1e-6 * max(1.0, 50 * psize_A)


@TRIES
@given(ANGLE, TILT, ANGLE, SHIFT)
def test_angles_become_a_vector_whose_exponential_is_the_transposed_matrix_and_come_back(
    tmp_path: Path, rot: float, tilt: float, psi: float, shift: tuple[float, float]
) -> None:
    (tmp_path / "p.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup\n_rlnImagePixelSize\n_rlnImageSize\n1 1.5 64\n\ndata_particles\n\n"
        "loop_\n_rlnImageName\n_rlnOpticsGroup\n_rlnAngleRot\n_rlnAngleTilt\n_rlnAnglePsi\n_rlnOriginXAngst\n"
        f"_rlnOriginYAngst\n1@a.mrcs 1 {rot!r} {tilt!r} {psi!r} {shift[0]!r} {shift[1]!r}\n"
    )
    columns = cryosparc_table(read_columns(tmp_path / "p.star", is_read), "p.star").columns
    wanted = relion_matrix(np.array([rot, tilt, psi]))
    assert np.abs(exponential(columns["alignments3D/pose"][0].astype(np.float64)) - wanted.T).max() < 1e-6
    back = relion_tables(columns, "p.cs").particles
    angles = np.array([back[f"rlnAngle{one}"][0] for one in ("Rot", "Tilt", "Psi")])
    # Single precision, and views along z leave rot and psi to each other: matrices are compared, not angles.
    assert np.abs(relion_matrix(angles) - wanted).max() < 1e-6
    assert np.abs([back["rlnOriginXAngst"][0] - shift[0], back["rlnOriginYAngst"][0] - shift[1]]).max() < 1e-5
