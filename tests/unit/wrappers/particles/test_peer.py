"""What an independent program made of the same particles: `cryodrgn.json` holds its figures, and how they were had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import starfile
from scipy.spatial.transform import Rotation
from support.spread_particles import spread_particles

from cryobridge.wrappers.formats import star
from cryobridge.wrappers.formats.cs_table import read_table, write_table
from cryobridge.wrappers.formats.star_columns import read_columns
from cryobridge.wrappers.particles.from_cryosparc import RelionTables, relion_tables, star_blocks
from cryobridge.wrappers.particles.from_relion import cryosparc_table, is_read

CTF = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnPhaseShift")


@pytest.fixture(scope="module")
def peer() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / "cryodrgn.json").read_text())
    return found


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> RelionTables:
    """Our tables of the same particles, by way of a file."""
    path = tmp_path_factory.mktemp("peer") / "particles.cs"
    write_table(path, spread_particles())
    return relion_tables(read_table(path), "particles.cs")


def matrices(angles: np.ndarray) -> np.ndarray:
    """RELION's, object to view, of rot, tilt, psi in degrees."""
    return Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().transpose(0, 2, 1)


def test_rotations_are_the_peers(peer: dict[str, Any], ours: RelionTables) -> None:
    angles = np.stack([ours.particles[f"rlnAngle{one}"][peer["rows"]] for one in ("Rot", "Tilt", "Psi")], axis=1)
    theirs = np.array(peer["rotations"])
    # It calculates in single precision.
    assert np.abs(matrices(angles) - theirs).max() < 1e-6
    assert np.abs(matrices(angles).transpose(0, 2, 1) - theirs).max() > 1
    assert peer["largest_differences_of_all_particles"]["rotations: our STAR by cryodrgn, its .cs"] < 1e-6


def test_shifts_are_the_peers_in_boxes_although_the_images_were_binned(
    peer: dict[str, Any], ours: RelionTables
) -> None:
    box_A = ours.optics["rlnImageSize"][0] * ours.optics["rlnImagePixelSize"][0]
    found = np.stack([ours.particles[f"rlnOrigin{one}Angst"][peer["rows"]] for one in "XY"], axis=1) / box_A
    assert np.abs(found - np.array(peer["shifts"])).max() < 1e-8


def test_the_ctf_is_the_peers(peer: dict[str, Any], ours: RelionTables) -> None:
    theirs = np.array(peer["ctf"])
    found = np.stack([ours.particles[label][peer["rows"]] for label in CTF], axis=1)
    assert np.allclose(found, theirs[:, [2, 3, 4, 8]], rtol=1e-6, atol=1e-5)
    optics = [ours.optics[label][0] for label in ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")]
    assert np.allclose(theirs[:, 5:8], optics, rtol=1e-6)
    assert np.allclose(theirs[:, 1], ours.optics["rlnImagePixelSize"][0])


def test_starfile_reads_what_was_written(ours: RelionTables, tmp_path: Path) -> None:
    star.write_atomically(tmp_path / "p.star", star_blocks(ours))
    blocks = starfile.read(tmp_path / "p.star")
    assert list(blocks) == ["optics", "particles"]
    for label, values in ours.particles.items():
        found = blocks["particles"][label].to_numpy()
        assert len(found) == 1000
        if values.dtype.kind in "if":
            assert np.abs(found.astype(float) - values).max() < 1e-6, label
        else:
            assert found.tolist() == values.tolist(), label


def test_a_thousand_particles_there_and_back(ours: RelionTables, tmp_path: Path) -> None:
    star.write_atomically(tmp_path / "p.star", star_blocks(ours))
    back = cryosparc_table(read_columns(tmp_path / "p.star", is_read), "p.star").columns
    before = spread_particles()
    one, two = (Rotation.from_rotvec(table["alignments3D/pose"]).as_matrix() for table in (before, back))
    assert np.abs(one - two).max() < 1e-6
    # The groups' ids are others, the groups are the same.
    assert back["uid"].tolist() == before["uid"].tolist()
    pairs = set(zip(before["ctf/exp_group_id"].tolist(), back["ctf/exp_group_id"].tolist(), strict=True))
    assert len(pairs) == 3
