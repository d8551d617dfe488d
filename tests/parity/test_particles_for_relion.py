"""RELION reads the particles that `particles.to_relion` wrote, and reconstructs what they are projections of."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.map_jobs import run_map_job

from cryobridge.wrappers.formats import star
from cryobridge.wrappers.formats.cs_table import read_table, write_table

pytestmark = pytest.mark.slow

BOX, PIXEL_A, COUNT = 32, 3.0, 300
ALIGNED_PIXEL_A = 1.5
"""The refinement had finer pixels: its shifts are in those."""
BLOBS = np.array([[0, 0, 0], [6, 0, 0], [0, 5, 0], [0, 0, 7], [4, -3, -5], [-5, 4, 2], [-3, -6, 4]], float)
"""A chiral specimen, (x, y, z) in voxels from the centre."""


@pytest.fixture(autouse=True)
def programs() -> None:
    missing = [name for name in ("relion_reconstruct", "relion_star_handler") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (Debian, Ubuntu: apt install relion)")


def blobs(places: np.ndarray, dimensions: int) -> np.ndarray:
    """Gaussians at places (x, y(, z)), on a grid whose last axis is x."""
    axes = np.meshgrid(*[np.arange(BOX) - BOX // 2] * dimensions, indexing="ij")[::-1]
    found: np.ndarray = sum(
        np.exp(-sum((axis - at) ** 2 for axis, at in zip(axes, place, strict=True)) / (2 * 1.6**2)) for place in places
    )
    return found


def write_project(
    project: Path, poses: np.ndarray, written: np.ndarray, written_pixel_A: float = ALIGNED_PIXEL_A
) -> Path:
    """A project of particles seen by rotation vectors, whose table may say others; the table's path."""
    shifts = np.random.default_rng(5).uniform(-4, 4, (len(poses), 2))
    images = []
    for matrix, shift in zip(Rotation.from_rotvec(poses).as_matrix(), shifts, strict=True):
        # The particle lies at minus its shift, which is in pixels of the refinement.
        seen = (BLOBS @ matrix)[:, :2] - shift * ALIGNED_PIXEL_A / PIXEL_A
        images.append(blobs(seen[None].reshape(-1, 2), 2))
    (project / "J1").mkdir(parents=True)
    with mrcfile.new(project / "J1/stack.mrc", np.array(images, np.float32)) as stack:
        stack.set_image_stack()
        stack.voxel_size = PIXEL_A
    rows = len(poses)
    columns = {
        "uid": np.arange(rows, dtype=np.uint64) + np.uint64(2**63),
        "blob/path": np.array(["J1/stack.mrc"] * rows),
        "blob/idx": np.arange(rows, dtype=np.uint32),
        "blob/shape": np.full((rows, 2), BOX, np.uint32),
        "blob/psize_A": np.full(rows, PIXEL_A, np.float32),
        "blob/sign": np.ones(rows, np.float32),
        "ctf/exp_group_id": np.arange(rows, dtype=np.uint32) % 2 + 40,
        **{
            f"ctf/{part}": np.full(rows, value, np.float32)
            for part, value in (("accel_kv", 300), ("cs_mm", 2.7), ("amp_contrast", 0.1), ("df_angle_rad", 0.2))
        },
        "ctf/df1_A": np.full(rows, 1e4, np.float32),
        "ctf/df2_A": np.full(rows, 9e3, np.float32),
        "alignments3D/pose": written.astype(np.float32),
        "alignments3D/shift": shifts.astype(np.float32),
        "alignments3D/psize_A": np.full(rows, written_pixel_A, np.float32),
        "alignments3D/split": (np.arange(rows) % 2).astype(np.uint32),
    }
    write_table(project / "particles.cs", columns)
    return project / "particles.cs"


def reconstructed(
    tmp_path: Path, name: str, poses: np.ndarray, written: np.ndarray, written_pixel_A: float = ALIGNED_PIXEL_A
) -> np.ndarray:
    project = tmp_path / name
    table = write_project(project, poses, written, written_pixel_A)
    # RELION takes names with blanks where they are quoted.
    output = tmp_path / f"{name} out"
    run_map_job("particles.to_relion", output, {"particles": table, "project": project})
    found = tmp_path / f"{name}.mrc"
    command = ["relion_reconstruct", "--i", output / "particles.star", "--o", found]
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=120, cwd=tmp_path)
    volume: np.ndarray = mrcfile.read(found)
    return volume


def test_relion_reconstructs_the_specimen_and_not_from_transposed_rotations(tmp_path: Path) -> None:
    poses = Rotation.random(COUNT, random_state=11).as_rotvec()
    truth = blobs(BLOBS, 3)
    along = np.arange(BOX) - BOX // 2
    inside = along[:, None, None] ** 2 + along[None, :, None] ** 2 + along**2 < (BOX // 2 - 2) ** 2

    def likeness(volume: np.ndarray) -> float:
        return float(np.corrcoef(truth[inside], volume[inside])[0, 1])

    right = likeness(reconstructed(tmp_path, "right", poses, poses))
    transposed = likeness(reconstructed(tmp_path, "transposed", poses, -poses))
    shifted = likeness(reconstructed(tmp_path, "shifted", poses, poses, PIXEL_A))
    assert right > 0.98
    assert transposed < 0.8
    # Shifts in pixels of the images in place of those of the refinement.
    assert shifted < 0.97


def test_relion_counts_the_particles_and_their_optics_groups(tmp_path: Path) -> None:
    poses = Rotation.random(20, random_state=11).as_rotvec()
    table = write_project(tmp_path / "p", poses, poses)
    run_map_job("particles.to_relion", tmp_path / "out", {"particles": table, "project": tmp_path / "p"})
    command = ["relion_star_handler", "--i", tmp_path / "out" / "particles.star", "--o", tmp_path / "again.star"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=120, cwd=tmp_path)
    before, after = (star.read(path) for path in (tmp_path / "out" / "particles.star", tmp_path / "again.star"))
    assert after.block("optics").numbers("rlnOpticsGroup").tolist() == [1, 2]
    for label in before.block("particles").columns:
        # CryoSPARC's ids are nothing to RELION, which keeps them all the same, to the last of their twenty digits.
        if label in ("rlnImageName", "cryosparcUid"):
            assert list(after.block("particles").column(label)) == list(before.block("particles").column(label))
        else:
            one, other = (file.block("particles").numbers(label) for file in (before, after))
            assert np.allclose(one, other, rtol=1e-6, atol=1e-5), label


@pytest.mark.shared
def test_the_eight_particles_of_the_sample_make_a_map_like_the_truth(shared: Path, tmp_path: Path) -> None:
    project = shared / "cryosparc-standin/sample/CS-bridge-demo"
    truth = mrcfile.read(project / "truth.mrc")
    found = {}
    for name, sign in (("right", 1), ("transposed", -1)):
        columns = read_table(project / "J1/J1_003_particles.cs")
        columns["alignments3D/pose"] = sign * columns["alignments3D/pose"]
        write_table(tmp_path / f"{name}.cs", columns)
        inputs = {"particles": tmp_path / f"{name}.cs", "project": project}
        run_map_job("particles.to_relion", tmp_path / name, inputs)
        command = ["relion_reconstruct", "--i", tmp_path / name / "particles.star", "--o", tmp_path / f"{name}.mrc"]
        subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=120, cwd=tmp_path)
        # Its particles are dark.
        found[name] = np.corrcoef(truth.ravel(), -mrcfile.read(tmp_path / f"{name}.mrc").ravel())[0, 1]
    assert found["right"] > 0.8
    assert found["transposed"] < 0.7
