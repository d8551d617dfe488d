"""`particles.to_cryosparc` as the job runner does it, and what numpy and our own other kind make of its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.map_jobs import run_map_job
from support.spread_particles import spread_particles

from cryobridge.schemas.errors import InputInvalid
from cryobridge.wrappers.formats.cs_table import read_table, write_table

KIND = "particles.to_cryosparc"
SAMPLE = "cryosparc-standin/sample/CS-bridge-demo/J1/J1_003_particles.cs"


def run(output: Path, star: Path, **options: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The result, and the table as numpy reads it."""
    result, _ = run_map_job(KIND, output, {"star": star}, options)
    table = np.load(output / "particles.cs", allow_pickle=False)
    return result, {name: table[name] for name in table.dtype.names}


def there(tmp_path: Path, **options: Any) -> Path:
    """A STAR file of thirty particles."""
    write_table(tmp_path / "before.cs", spread_particles(30))
    run_map_job("particles.to_relion", tmp_path / "star", {"particles": tmp_path / "before.cs"}, options)
    return tmp_path / "star" / "particles.star"


@pytest.mark.parametrize("group", ["C1", "D7"])
def test_both_kinds_together_change_no_view(tmp_path: Path, group: str) -> None:
    star = there(tmp_path, symmetry=group)
    result, found = run(tmp_path / "back", star, symmetry=group)
    before = spread_particles(30)
    one, two = (Rotation.from_rotvec(table["alignments3D/pose"]).as_matrix() for table in (before, found))
    assert np.abs(one - two).max() < 1e-6
    assert found["alignments3D/split"].tolist() == before["alignments3D/split"].tolist()
    assert np.allclose(found["ctf/df1_A"], before["ctf/df1_A"], rtol=1e-6)
    in_A = [table["alignments3D/shift"] * table["alignments3D/psize_A"][:, None] for table in (before, found)]
    assert np.allclose(*in_A, atol=1e-5)
    assert found["uid"].dtype == np.uint64
    assert set(result["outputs"]) == {"particles.cs", "report.html"}
    assert result["metrics"]["turned_deg"] == (90 if group == "D7" else 0)


@pytest.mark.shared
def test_the_sample_comes_back_as_it_was(shared: Path, tmp_path: Path) -> None:
    run_map_job("particles.to_relion", tmp_path / "star", {"particles": shared / SAMPLE})
    _, found = run(tmp_path / "back", tmp_path / "star" / "particles.star")
    before = read_table(shared / SAMPLE)
    for column in ("alignments3D/pose", "alignments3D/shift", "ctf/df1_A", "ctf/df2_A", "ctf/df_angle_rad"):
        assert np.allclose(found[column], before[column], rtol=1e-6, atol=1e-6), column
    for column in ("blob/idx", "blob/shape", "alignments3D/split", "ctf/accel_kv"):
        assert np.array_equal(found[column], before[column]), column


def test_a_file_of_relion_3_0_needs_its_box_and_is_read_with_it(tmp_path: Path) -> None:
    star = tmp_path / "old.star"
    star.write_text(
        "data_images\n\nloop_\n_rlnImageName\n_rlnAngleRot\n_rlnAngleTilt\n_rlnAnglePsi\n_rlnOriginX\n_rlnOriginY\n"
        "_rlnDetectorPixelSize\n_rlnMagnification\n1@a.mrcs 10 20 30 1.5 -2 5.0 10000\n"
    )
    with pytest.raises(InputInvalid, match="give 'box'"):
        run(tmp_path / "none", star)
    result, found = run(tmp_path / "out", star, box=64)
    assert found["alignments3D/shift"].tolist() == [[1.5, -2.0]]
    assert found["alignments3D/psize_A"].tolist() == [5.0]
    said = " ".join(result["statements"])
    assert "no CTF is written" in said
    assert "half-sets are not known" in said
    assert "bright on dark" in said


def test_a_file_that_holds_no_particles_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.star").write_text("data_\n\nloop_\n_rlnMicrographName\na.mrc\n")
    with pytest.raises(InputInvalid, match="no table of particles"):
        run(tmp_path / "out", tmp_path / "a.star")
    assert not (tmp_path / "out").exists()
