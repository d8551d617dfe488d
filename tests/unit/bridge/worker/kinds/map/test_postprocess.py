"""`map.postprocess` brings a blurred structure back, and says when its figures are not to be trusted."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.map_jobs import read_back, run_map_job, write_maps

from cryobridge.core.volume.masks import soft_sphere
from cryobridge.core.volume.phantom import PhantomPair, phantom_pair
from cryobridge.schemas.errors import InputInvalid

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair() -> PhantomPair:
    """Isotropic half-maps."""
    return phantom_pair(40, 2.0, 4.6, cone_deg=0.1, inside=1.0)


def files(folder: Path, pair: PhantomPair, **others: torch.Tensor) -> dict[str, Path]:
    return write_maps(folder, pair.voxel_size_A, half1=pair.half1, half2=pair.half2, **others)


def test_a_job_writes_maps_curves_and_a_report(pair: PhantomPair, tmp_path: Path) -> None:
    result, said = run_map_job("map.postprocess", tmp_path / "out", files(tmp_path, pair, mask=pair.mask))
    maps = {"postprocessed.mrc", "postprocessed_masked.mrc"}
    assert set(result["outputs"]) == maps | {"fsc.csv", "guinier.csv", "postprocessed.cxc", "report.html"}
    found = result["metrics"]
    assert 4.0 < found["resolution_A"] < 5.8
    assert found["b_factor_A2"] < -50
    assert found["low_pass_A"] == found["resolution_A"]
    assert any(f"resolution {found['resolution_A']:.2f} A" in line for line in said)
    sharp, masked = (read_back(tmp_path / "out" / name) for name in ("postprocessed.mrc", "postprocessed_masked.mrc"))
    torch.testing.assert_close(masked, sharp * pair.mask.double(), rtol=0, atol=1e-4 * float(sharp.std()))
    with open(tmp_path / "out" / "fsc.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    corrected = [float(row["corrected"]) for row in rows]
    shell = next(i for i in range(1, 21) if corrected[i] < 0.143) - 1
    assert found["resolution_A"] == pytest.approx(40 * 2.0 / shell, abs=1e-4)
    # The B-factor is that of the line through the table's own points, by numpy.
    with open(tmp_path / "out" / "guinier.csv", newline="") as file:
        points = np.array([[float(row[key]) for key in ("inverse_d2", "weighted")] for row in csv.DictReader(file)])
    used = (points[:, 0] >= 0.01) & (points[:, 0] <= 1.0001 / found["resolution_A"] ** 2)
    assert found["b_factor_A2"] == pytest.approx(4 * np.polyfit(*points[used].T, 1)[0], rel=1e-3)


@pytest.mark.slow
def test_sharpening_undoes_part_of_the_fall_off_of_the_structure(pair: PhantomPair, tmp_path: Path) -> None:
    """Signal at 7 to 6 A against signal at 10 to 8.5 A, which the phantom's B-factor of 150 has pressed down."""
    paths = files(tmp_path, pair, mask=pair.mask)
    ratios = []
    for sharpening in ("none", "b_factor", "flatten"):
        out = tmp_path / sharpening
        run_map_job("map.postprocess", out, paths, {"sharpening": sharpening, "low_pass_A": 5.0})
        spectrum = np.abs(np.fft.fftn(read_back(out / "postprocessed_masked.mrc").numpy()))
        k = np.fft.fftfreq(40, 2.0)
        frequency = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
        low, high = (spectrum[(frequency > 1 / a) & (frequency < 1 / b)].mean() for a, b in ((10, 8.5), (7, 6)))
        ratios.append(high / low)
    assert ratios[1] > 1.5 * ratios[0]
    assert ratios[2] == pytest.approx(1.0, abs=0.2)


def test_without_a_mask_there_is_one_curve_and_a_note(pair: PhantomPair, tmp_path: Path) -> None:
    options = {"adhoc_bfac": -75.0, "seed": 4}
    result, _ = run_map_job("map.postprocess", tmp_path / "out", files(tmp_path, pair), options)
    assert result["metrics"]["b_factor_A2"] == -75.0
    assert result["seeds"] == {"phases": 4}
    assert not (tmp_path / "out" / "postprocessed_masked.mrc").exists()
    assert any("No mask was given" in line for line in result["statements"])
    assert (tmp_path / "out" / "fsc.csv").read_text().startswith("shell,resolution_A,unmasked\n")


def test_a_mask_beside_the_particle_is_named(pair: PhantomPair, tmp_path: Path) -> None:
    beside = soft_sphere(40, 6.0, 4.0).roll((20, 20, 20), (0, 1, 2))
    result, _ = run_map_job("map.postprocess", tmp_path / "out", files(tmp_path, pair, mask=beside))
    assert any("mask.mrc: the FSC inside the mask is worse" in line for line in result["statements"])
    assert "does it cover the particle?" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("spoil", "options", "sentence"),
    [
        (True, {}, "agree at no resolution"),
        (False, {"fit_from_A": 6.0}, "a B-factor cannot be fitted"),
        (False, {"fit_from_A": 6.0, "sharpening": "flatten"}, "a spectrum cannot be levelled"),
    ],
)
def test_what_cannot_be_sharpened_is_one_sentence(
    pair: PhantomPair, tmp_path: Path, spoil: bool, options: dict[str, Any], sentence: str
) -> None:
    paths = files(tmp_path, pair)
    if spoil:
        noise = torch.randn((40,) * 3, generator=torch.Generator().manual_seed(0))
        paths |= write_maps(tmp_path, 2.0, half2=noise)
    with pytest.raises(InputInvalid, match=sentence) as caught:
        run_map_job("map.postprocess", tmp_path / "out", paths, options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "result.json").exists()
