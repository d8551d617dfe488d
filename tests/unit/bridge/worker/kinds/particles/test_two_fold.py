"""Where a dihedral group has its two-fold: by the rule, by the map, and what a turn does to projections of one."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from cryobridge.bridge.worker.kinds.particles.two_fold import turn_between
from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.particles.rotations import angles_of_vectors, vectors_of_angles

REPORT = "data/reports/symmetry-not-in-the-map"


def unpacked(shared: Path, folder: Path, name: str) -> Path:
    path = folder / f"{name}.mrc"
    with gzip.open(shared / REPORT / f"{name}.mrc.gz") as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
    return path


@pytest.mark.parametrize("group", ["C1", "C7", "D2", "D4", "d6"])
def test_groups_that_both_programs_have_alike_are_not_turned(group: str) -> None:
    assert turn_between(group, "y", "x", None).degrees == 0
    assert turn_between(group, "y", "x", None).why == ""


@pytest.mark.parametrize("group", ["D1", "D3", "d5", "D7"])
def test_without_a_map_the_rule_turns_odd_dihedral_groups_and_says_so(group: str) -> None:
    turn = turn_between(group, "y", "x", None)
    assert turn.degrees == -90
    assert turn_between(group, "x", "y", None).degrees == 90
    assert "the two-fold is on y, as its program has it" in turn.why


@pytest.mark.parametrize("group", ["T", "O", "I1", "I2"])
def test_groups_that_were_not_compared_are_said(group: str) -> None:
    turn = turn_between(group, "y", "x", None)
    assert turn.degrees == 0
    assert "not compared" in turn.why


@pytest.mark.shared
@pytest.mark.parametrize("half", [1, 2])
def test_the_map_is_believed_rather_than_the_rule(shared: Path, tmp_path: Path, half: int) -> None:
    on_x = unpacked(shared, tmp_path, f"d3_two_fold_x_half{half}")
    on_y = unpacked(shared, tmp_path, f"d3_two_fold_y_half{half}")
    assert turn_between("D3", "y", "x", on_y).degrees == -90
    assert turn_between("D3", "x", "y", on_x).degrees == 90
    already = turn_between("D3", "y", "x", on_x)
    assert already.degrees == 0
    assert "on x already, as the map shows" in already.why


@pytest.mark.shared
def test_a_map_that_has_neither_two_fold_is_refused(shared: Path, tmp_path: Path) -> None:
    path = unpacked(shared, tmp_path, "c1_half1")
    with pytest.raises(InputInvalid, match=r"c1_half1\.mrc: does not show whether"):
        turn_between("D3", "y", "x", path)


def projection(volume: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """The view of a map (z, y, x) by RELION's matrix: a point X is seen at the first two coordinates of A X."""
    seen = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix()
    back = seen[::-1, ::-1]
    centre = np.array(volume.shape) // 2
    turned = affine_transform(volume, back, centre - back @ centre, order=1)
    image: np.ndarray = turned.sum(axis=0)
    return image


def unlike(one: np.ndarray, other: np.ndarray) -> float:
    """What is missing to a correlation of 1."""
    return float(1 - np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.shared
def test_converted_particles_see_the_turned_map_as_the_old_ones_saw_the_old(shared: Path, tmp_path: Path) -> None:
    """The map with its two-fold on x, which RELION would reconstruct, is the one that the converted views are of."""
    on_y = unpacked(shared, tmp_path, "d3_two_fold_y_half1")
    turn = turn_between("D3", "y", "x", on_y)
    volume = mrc.read(on_y)[0].astype(np.float64)
    # By -90 degrees about z through the centre voxel: y goes to x. The array is (z, y, x).
    inner = volume[1:, 1:, 1:]
    after = np.zeros_like(volume)
    after[1:, 1:, 1:] = np.rot90(inner, 1, axes=(1, 2))
    mrc.write_atomically(tmp_path / "after.mrc", after.astype(np.float32), 2.0)
    assert turn_between("D3", "y", "x", tmp_path / "after.mrc").degrees == 0
    poses = Rotation.random(6, random_state=3).as_rotvec()
    converted, as_they_were = angles_of_vectors(poses, turn.degrees), angles_of_vectors(poses)
    for new, old in zip(converted, as_they_were, strict=True):
        view = projection(volume, old)
        assert unlike(view, projection(after, new)) < 1e-4
        # Small round maps look much alike from everywhere; there is an order of magnitude between the two all the same.
        assert unlike(view, projection(after, old)) > 1e-3
    assert np.allclose(vectors_of_angles(converted, -turn.degrees), poses, atol=1e-6)
