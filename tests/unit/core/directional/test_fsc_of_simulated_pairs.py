"""FSC, conical FSC and sampling density agree with what the makers of the simulated half-map pairs measured."""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from cryobridge.core.directional import correlation as fsc3d
from cryobridge.core.directional import sampling
from cryobridge.core.fourier import correlation as fsc
from cryobridge.core.fourier import shells

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def pair(shared: Path) -> Path:
    """A C3 haemagglutinin with next to nothing but top views."""
    folder = shared / "data" / "sim_halfmaps" / "ha_4o5n_c3_topviews"
    if not folder.is_dir():
        pytest.skip("data/sim_halfmaps is not in the shared data folder")
    return folder


def volume(folder: Path, name: str) -> torch.Tensor:
    return torch.from_numpy(mrcfile.read(folder / f"{name}.mrc.gz").astype(np.float32))


def test_the_curves_are_those_measured_by_the_makers(pair: Path) -> None:
    with open(pair / "fsc.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}
    first, second, mask = (volume(pair, name) for name in ("half1", "half2", "mask"))
    used = slice(1, len(rows) + 1)
    np.testing.assert_allclose(fsc.fsc(first, second)[used], wanted["fsc_unmasked"], atol=1e-4)
    np.testing.assert_allclose(fsc.fsc(first, second, mask)[used], wanted["fsc_masked"], atol=1e-4)
    along_z, along_y, along_x = fsc3d.conical_fsc(first, second, torch.eye(3), mask)
    np.testing.assert_allclose(along_y[used], wanted["fsc_cone20_y"], atol=1e-3)
    np.testing.assert_allclose(along_x[used], wanted["fsc_cone20_x"], atol=1e-3)
    # Next to nothing is measured along z, so the few voxels at the rim of that cone weigh much.
    np.testing.assert_allclose(along_z[used], wanted["fsc_cone20_z"], atol=0.05)
    assert float((along_z[used] - torch.from_numpy(wanted["fsc_cone20_z"])).abs().mean()) < 0.005


@pytest.mark.slow
def test_the_density_of_the_angles_is_that_of_the_reconstructions_weight(pair: Path) -> None:
    with gzip.open(pair / "particles.star.gz", "rt") as file:
        table = file.read().split("data_particles")[1]
    angles = torch.tensor(
        [[float(word) for word in row.split()[:3]] for row in table.splitlines() if len(row.split()) == 8]
    )
    assert angles.shape[0] > 1000
    turns = [2 * math.pi * k / 3 for k in range(3)]
    group = torch.tensor([[[math.cos(t), -math.sin(t), 0], [math.sin(t), math.cos(t), 0], [0, 0, 1]] for t in turns])
    weight = volume(pair, "weight")
    n = weight.shape[0]
    stored = torch.fft.ifftshift(weight)[:, :, : n // 2 + 1]
    ours = sampling.sampling_volume(angles, n, symmetry=group, relative_to="even")
    shell = shells.shell_index(n)
    for i in (15, 30, 55):
        together = torch.corrcoef(torch.stack([stored[shell == i], ours[shell == i]]))
        assert together[0, 1] > 0.95
