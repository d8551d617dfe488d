"""`map.combine` takes each resolution from the map it should, measured here from the files alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.literature import cites_what_it_names
from support.map_jobs import read_back, run_map_job, write_maps

from cryobridge.bridge.worker.kinds.map import combine
from cryobridge.schemas.errors import InputInvalid

pytestmark = pytest.mark.slow

BOX = 32
VOXEL_A = 1.5


def noise(seed: int) -> torch.Tensor:
    return torch.randn((BOX,) * 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def phase_cosine(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    """Mean cosine of the phase difference by shell."""
    k = np.fft.fftfreq(BOX, 1 / BOX)
    shell = np.rint(np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2))
    product = np.fft.fftn(first.numpy()) * np.fft.fftn(second.numpy()).conj()
    cosine = product.real / np.abs(product)
    return np.array([cosine[shell == i].mean() for i in range(1, BOX // 2 + 1)])


def test_phases_are_the_low_maps_below_the_threshold_and_the_high_maps_beyond(tmp_path: Path) -> None:
    low, high = noise(1) * 1e-3, noise(2) * 50 + 3
    paths = write_maps(tmp_path, VOXEL_A, low=low, high=high, mask=torch.ones((BOX,) * 3))
    threshold = {"threshold_resolution_A": BOX * VOXEL_A / 11}
    result, _ = run_map_job("map.combine", tmp_path / "out", paths, threshold)
    combined = read_back(tmp_path / "out" / "combined.mrc")
    assert phase_cosine(combined, low)[:5].min() > 0.999
    assert phase_cosine(combined, high)[11:].min() > 0.999
    assert phase_cosine(combined, high)[:5].max() < 0.3
    assert float(combined.mean()) == pytest.approx(float(high.mean()), abs=1e-3)
    assert float(combined.std()) == pytest.approx(float(high.std()), rel=1e-3)
    assert result["metrics"]["fsc_with_low_below"] > 0.999
    assert result["metrics"]["fsc_with_high_beyond"] > 0.999
    assert set(result["outputs"]) == {"combined.mrc", "combined.cxc", "fsc.csv", "report.html"}


@pytest.mark.parametrize("threshold_A", [2.0, 40.0])
def test_a_threshold_that_the_maps_do_not_reach_is_one_sentence(tmp_path: Path, threshold_A: float) -> None:
    paths = write_maps(tmp_path, VOXEL_A, low=noise(1), high=noise(2))
    with pytest.raises(InputInvalid, match=r"not between 24 A \(shell 2\) and 3 A \(Nyquist\)"):
        run_map_job("map.combine", tmp_path / "out", paths, {"threshold_resolution_A": threshold_A})
    assert not (tmp_path / "out").exists()


def test_the_methods_text_cites_what_it_names() -> None:
    cites_what_it_names(combine.passage(10.0))
