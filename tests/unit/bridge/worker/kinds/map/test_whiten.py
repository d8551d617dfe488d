"""`map.whiten` levels what it says it levels, measured here from the files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.map_jobs import read_back, run_map_job, write_maps

from cryobridge.schemas.errors import InputInvalid

pytestmark = pytest.mark.slow

BOX = 32
VOXEL_A = 1.5
SHELLS = {"low_resolution_A": BOX * VOXEL_A / 5.5, "high_resolution_A": BOX * VOXEL_A / 12.5}


def frequencies(n: int = BOX) -> tuple[np.ndarray, np.ndarray]:
    """Radius in pixels of the whole spectrum, and |cos| of the angle to z."""
    k = np.fft.fftfreq(n, 1 / n)
    kz, ky, kx = np.meshgrid(k, k, k, indexing="ij")
    distance = np.sqrt(kz**2 + ky**2 + kx**2)
    return distance, np.abs(kz) / np.maximum(distance, 1e-9)


def amplitudes(volume: torch.Tensor) -> np.ndarray:
    return np.abs(np.fft.fftn(volume.numpy()))


def by_shell(volume: torch.Tensor) -> np.ndarray:
    shell, found = np.rint(frequencies()[0]), amplitudes(volume)
    return np.array([found[shell == i].mean() for i in range(BOX // 2 + 1)])


@pytest.fixture
def blurred() -> torch.Tensor:
    """White noise under a fall-off with resolution, weaker along z than across."""
    distance, along = frequencies()
    spectrum = np.fft.fftn(np.random.default_rng(1).standard_normal((BOX,) * 3))
    return torch.from_numpy(np.fft.ifftn(spectrum * np.exp(-0.15 * distance) * (1 - 0.7 * along**2)).real)


@pytest.mark.parametrize("with_mask", [False, True])
def test_shells_between_the_two_resolutions_become_alike(
    blurred: torch.Tensor, tmp_path: Path, with_mask: bool
) -> None:
    axis = torch.arange(BOX) - BOX / 2
    ball = ((axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) < 12**2).double()
    maps = {"map": blurred, **({"mask": ball} if with_mask else {})}
    result, said = run_map_job("map.whiten", tmp_path / "out", write_maps(tmp_path, VOXEL_A, **maps), SHELLS)
    after = read_back(tmp_path / "out" / "whitened.mrc")
    seen = by_shell(after * ball) if with_mask else by_shell(after)
    level = by_shell(blurred * ball)[5] if with_mask else by_shell(blurred)[5]
    np.testing.assert_allclose(seen[5:12], level, rtol=0.2 if with_mask else 1e-4)
    if not with_mask:
        # From the resolution on that was given the map is as it was.
        np.testing.assert_allclose(seen[12:], by_shell(blurred)[12:], rtol=1e-4)
        np.testing.assert_allclose(seen[:5], by_shell(blurred)[:5], rtol=1e-4)
        assert result["metrics"]["unevenness"] == pytest.approx(1.0, abs=1e-3)
        assert result["metrics"]["unevenness_before"] == pytest.approx(
            by_shell(blurred)[5] / by_shell(blurred)[11], rel=1e-3
        )
    assert said
    assert set(result["outputs"]) == {"whitened.mrc", "whitened.cxc", "spectrum.csv", "report.html"}


@pytest.mark.slow
def test_directions_become_alike(blurred: torch.Tensor, tmp_path: Path) -> None:
    paths = write_maps(tmp_path, VOXEL_A, map=blurred)
    result, _ = run_map_job("map.whiten", tmp_path / "out", paths, {**SHELLS, "mode": "angular"})
    distance, along = frequencies()
    band = (distance >= 6) & (distance <= 12)
    contrast = []
    for volume in (blurred, read_back(tmp_path / "out" / "whitened.mrc")):
        found = amplitudes(volume) * np.exp(0.15 * distance)
        contrast.append(found[band & (along < 0.3)].mean() / found[band & (along > 0.85)].mean())
    assert contrast[0] > 2
    assert contrast[1] == pytest.approx(1.0, abs=0.15)
    assert result["metrics"]["unevenness"] < 0.6 * result["metrics"]["unevenness_before"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"low_resolution_A": 3.0, "high_resolution_A": 2.0}, "nothing to level in a box of 32"),
        ({"mode": "angular"}, "a mask has no part in angular whitening"),
    ],
)
def test_what_cannot_be_whitened_is_one_sentence(
    blurred: torch.Tensor, tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    paths = write_maps(tmp_path, VOXEL_A, map=blurred, mask=torch.ones((BOX,) * 3))
    with pytest.raises(InputInvalid, match=sentence):
        run_map_job("map.whiten", tmp_path / "out", paths, {"low_resolution_A": 10.0, **options})
    assert not (tmp_path / "out").exists()
