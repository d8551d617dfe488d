"""`map.sampling` finds what is known of sets of views: even ones, top views, and top views with symmetry."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from support.map_jobs import read_back, run_map_job

from cryobridge.schemas.errors import InputInvalid

pytestmark = pytest.mark.slow

BOX = 24


def particles(path: Path, rot: np.ndarray, tilt: np.ndarray) -> dict[str, Path]:
    """A RELION 3.1 particle file with these views."""
    rows = "\n".join(
        f"{i + 1}@a.mrcs {r:.4f} {t:.4f} {i % 360}.0" for i, (r, t) in enumerate(zip(rot, tilt, strict=True))
    )
    columns = "\n".join(f"_rln{name}" for name in ("ImageName", "AngleRot", "AngleTilt", "AnglePsi"))
    path.write_text(f"data_optics\n\nloop_\n_rlnOpticsGroup\n1\n\ndata_particles\n\nloop_\n{columns}\n{rows}\n")
    return {"particles": path}


def angle_to_z() -> np.ndarray:
    """Degrees between each voxel of the centred cube and the z axis."""
    k = np.arange(BOX) - BOX // 2
    kz, ky, kx = np.meshgrid(k, k, k, indexing="ij")
    return np.degrees(np.arccos(np.abs(kz) / np.maximum(np.sqrt(kz**2 + ky**2 + kx**2), 1e-9)))


def radius() -> np.ndarray:
    k = np.arange(BOX) - BOX // 2
    return np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)


@pytest.mark.slow
def test_even_views_sample_all_directions_alike(tmp_path: Path) -> None:
    place = np.arange(6000)
    tilt, rot = np.degrees(np.arccos(1 - (2 * place + 1) / 6000)), 137.50776405 * place % 360
    inputs = particles(tmp_path / "even.star", rot, tilt)
    result, said = run_map_job("map.sampling", tmp_path / "out", inputs, {"map_dim": BOX, "apix": 2.0})
    density = read_back(tmp_path / "out" / "FSD3D.mrc").numpy()
    inside = radius() <= BOX / 2
    assert density[inside].min() > 0.9
    assert (density[~inside] == 0).all()
    found = result["metrics"]
    assert found["particles"] == 6000
    assert found["scf_star"] > 0.95
    assert found["hardly_sampled"] == 0
    assert 0.9 < found["least_density"] < 1 < found["largest_density"] < 1.1
    assert len(said) >= 3
    assert set(result["outputs"]) == {"FSD3D.mrc", "report.html"}


@pytest.mark.slow
def test_top_views_leave_a_cone_about_z_empty(tmp_path: Path) -> None:
    """Views within 20 degrees of z measure planes that come within 70 degrees of it and no closer."""
    draw = np.random.default_rng(4)
    inputs = particles(tmp_path / "top.star", draw.uniform(-180, 180, 3000), draw.uniform(0, 20, 3000))
    options = {
        "box": BOX,
        "voxel_size_A": 2.0,
        "low_resolution_A": BOX * 2.0 / 2.5,
        "high_resolution_A": BOX * 2.0 / 10,
    }
    result, _ = run_map_job("map.sampling", tmp_path / "out", inputs, options)
    density, polar, distance = read_back(tmp_path / "out" / "FSD3D.mrc").numpy(), angle_to_z(), radius()
    band = (distance > 3) & (distance <= 10)
    assert density[band & (polar < 65)].max() == 0
    assert density[band & (polar > 80)].min() > 0.2
    # Full weight up to the low resolution, none beyond the high one.
    assert (density[distance <= 2] == 1).all()
    assert (density[distance > 10.01] == 0).all()
    assert result["metrics"]["scf_star"] < 0.5
    assert result["metrics"]["hardly_sampled"] == pytest.approx(1 - np.cos(np.radians(69)), abs=0.05)
    page = (tmp_path / "out" / "report.html").read_text()
    assert re.search(r"SCF\* is 0\.\d\d \(below 0\.81 means trouble\)", page)


@pytest.mark.slow
def test_symmetry_turns_views_about_its_axis(tmp_path: Path) -> None:
    """One side view along x measures x not at all; with four-fold symmetry it is also seen along y."""
    # Next to one view, since particles of exactly one were never aligned.
    inputs = particles(tmp_path / "side.star", np.linspace(-0.02, 0.02, 50), np.full(50, 90.0))
    centre = BOX // 2
    seen = {}
    for symmetry in ("C1", "C4"):
        run_map_job("map.sampling", tmp_path / symmetry, inputs, {"box": BOX, "sym": symmetry, "grid": 32})
        density = read_back(tmp_path / symmetry / "FSD3D.mrc")
        seen[symmetry] = [float(density[centre, centre, centre + 8]), float(density[centre, centre + 8, centre])]
        assert float(density[centre + 8, centre, centre]) == 1
    assert seen["C1"] == [0, 1]
    assert seen["C4"][0] == pytest.approx(seen["C4"][1])
    assert 0 < seen["C4"][0] < 1


def test_particles_without_angles_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bare.star").write_text("data_particles\n\nloop_\n_rlnImageName\n1@a.mrcs\n")
    with pytest.raises(InputInvalid, match=r"bare\.star"):
        run_map_job("map.sampling", tmp_path / "out", {"particles": tmp_path / "bare.star"}, {"box": BOX})
    assert not (tmp_path / "out").exists()


def cs_file(path: Path, poses: np.ndarray) -> dict[str, Path]:
    """A CryoSPARC particle file with these rotation vectors."""
    table = np.zeros(len(poses), dtype=[("uid", "<u8"), ("alignments3D/pose", "<f4", (3,))])
    table["alignments3D/pose"] = poses
    with open(path, "wb") as file:
        np.save(file, table)
    return {"particles": path}


@pytest.mark.parametrize(("group", "said"), [("D7", True), ("D4", False), ("C3", False)])
def test_a_cs_with_an_odd_dihedral_group_is_told_which_axis_is_meant(tmp_path: Path, group: str, said: bool) -> None:
    inputs = cs_file(tmp_path / "particles.cs", np.random.default_rng(1).normal(size=(200, 3)))
    result, _ = run_map_job("map.sampling", tmp_path / "out", inputs, {"box": BOX, "sym": group})
    assert any("two-fold on x" in line for line in result["statements"]) is said


def test_few_views_are_given_no_verdict(tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    inputs = particles(tmp_path / "few.star", draw.uniform(-180, 180, 30), draw.uniform(0, 180, 30))
    result, _ = run_map_job("map.sampling", tmp_path / "out", inputs, {"box": BOX})
    assert 0 <= result["metrics"]["scf_star"] <= 1
    page = (tmp_path / "out" / "report.html").read_text()
    assert "no verdict" in page
    assert "means trouble" not in page
