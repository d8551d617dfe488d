"""`map.lowpass` leaves what is coarser and nothing that is finer, measured here from the files alone."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.literature import cites_what_it_names
from support.map_jobs import read_back, run_map_job, write_maps

from cryobridge.bridge.worker.kinds.map import lowpass
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.kinds.map.lowpass import LowpassOptions

pytestmark = pytest.mark.slow

BOX = 32
VOXEL_A = 1.5
SHELL = 8
AT_A = BOX * VOXEL_A / SHELL


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    noise = torch.randn((BOX,) * 3, generator=torch.Generator().manual_seed(2))
    return write_maps(tmp_path, VOXEL_A, map=noise)


def gains(tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Radius in pixels of every Fourier voxel, and what became of its amplitude."""
    k = np.fft.fftfreq(BOX, 1 / BOX)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    before, after = (np.fft.fftn(read_back(tmp_path / name).numpy()) for name in ("map.mrc", "out/lowpassed.mrc"))
    return radius, (after / before).real


def test_a_raised_cosine_is_centred_on_the_resolution(files: dict[str, Path], tmp_path: Path) -> None:
    result, said = run_map_job("map.lowpass", tmp_path / "out", files, {"resolution_A": AT_A, "edge_shells": 4})
    radius, gain = gains(tmp_path)
    np.testing.assert_allclose(gain[radius <= SHELL - 2], 1, atol=1e-3)
    np.testing.assert_allclose(gain[radius >= SHELL + 2], 0, atol=1e-3)
    np.testing.assert_allclose(gain[radius == SHELL], 0.5, atol=1e-3)
    used = {"resolution_A": AT_A, "edge": "raised_cosine", "edge_shells": 4, "voxel_size_A": None}
    assert result["options"] == used
    assert any("cut at shell 8.0 of 16" in line for line in said)
    assert set(result["outputs"]) == {"lowpassed.mrc", "lowpassed.cxc", "spectrum.csv", "report.html"}


def test_a_ramp_ends_at_the_resolution(files: dict[str, Path], tmp_path: Path) -> None:
    result, _ = run_map_job("map.lowpass", tmp_path / "out", files, {"resolution_A": AT_A, "edge": "ramp"})
    radius, gain = gains(tmp_path)
    shell = np.rint(radius)
    np.testing.assert_allclose(gain[shell < SHELL - 3], 1, atol=1e-3)
    np.testing.assert_allclose(gain[shell == SHELL - 2], 0.5, atol=1e-3)
    np.testing.assert_allclose(gain[shell >= SHELL], 0, atol=1e-3)
    assert result["options"]["edge_shells"] == 3


def test_table_and_power_say_what_was_left(files: dict[str, Path], tmp_path: Path) -> None:
    result, _ = run_map_job("map.lowpass", tmp_path / "out", files, {"lowpass": AT_A})
    with open(tmp_path / "out" / "spectrum.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[4]["gain"]) == pytest.approx(1, abs=1e-3)
    assert float(rows[12]["gain"]) == pytest.approx(0, abs=1e-3)
    before, after = (read_back(tmp_path / name) for name in ("map.mrc", "out/lowpassed.mrc"))
    assert result["metrics"]["power_kept"] == pytest.approx(float(after.var() / before.var()), rel=1e-3)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Nothing finer than 6.00 Å is left" in page
    assert "raised cosine 2 shells wide" in page
    assert '"lowpassed.mrc"' in (tmp_path / "out" / "lowpassed.cxc").read_text()


@pytest.mark.parametrize("resolution_A", [2.9, 48.1])
def test_a_resolution_that_the_map_does_not_hold_is_one_sentence(
    files: dict[str, Path], tmp_path: Path, resolution_A: float
) -> None:
    with pytest.raises(InputInvalid, match=r"map\.mrc: resolution_A .* not between 48 A \(its box\) and 3 A \(Nyquist"):
        run_map_job("map.lowpass", tmp_path / "out", files, {"resolution_A": resolution_A})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [{}, {"edge": "ramp"}, {"edge_shells": 0}])
def test_the_methods_text_cites_what_it_names(options: dict[str, Any]) -> None:
    cites_what_it_names(lowpass.passage(LowpassOptions(resolution_A=10.0, **options)))
