"""What the diagnostics say of the simulated half-map pairs, whose views are known."""

from __future__ import annotations

import math
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from cryobridge.bridge.worker.kinds.map.diagnose.words import CFAR_TROUBLE_BELOW
from cryobridge.core.diagnosis import holdout
from cryobridge.core.directional import area_ratio as cfar
from cryobridge.core.directional import compensation as scf
from cryobridge.core.directional.correlation import conical_fsc
from cryobridge.core.directional.sampling import view_directions
from cryobridge.core.fourier.directions import fibonacci_directions
from cryobridge.wrappers.formats.particles import read_views

pytestmark = pytest.mark.shared

TOP, EVEN = "ha_4o5n_c3_topviews", "apoferritin_4v1w_uniform"


def curves(folder: Path, directions: torch.Tensor) -> torch.Tensor:
    first, second, mask = (
        torch.from_numpy(mrcfile.read(folder / f"{name}.mrc.gz").astype(np.float32))
        for name in ("half1", "half2", "mask")
    )
    return cfar.judged(conical_fsc(first, second, directions, mask))


@pytest.fixture(scope="module")
def pairs(shared: Path) -> Path:
    folder = shared / "data" / "sim_halfmaps"
    if not (folder / TOP).is_dir() or not (folder / EVEN).is_dir():
        pytest.skip("data/sim_halfmaps is not in the shared data folder")
    return folder


def test_top_views_lower_cfar_and_are_worst_along_z(pairs: Path) -> None:
    directions = fibonacci_directions(100)
    found = {name: curves(pairs / name, directions) for name in (TOP, EVEN)}
    assert cfar.cfar(found[EVEN]) > 0.9
    assert cfar.cfar(found[TOP]) < CFAR_TROUBLE_BELOW
    worst, best = holdout.worst_and_best(found[TOP], directions)
    # All cones that do not reach the equator's neighbourhood hold next to nothing.
    assert math.degrees(math.acos(float(directions[worst, 0].abs()))) < 55
    assert math.degrees(math.acos(float(directions[best, 0].abs()))) > 75
    along_z, along_y, along_x = cfar.cone_areas(curves(pairs / TOP, torch.eye(3)))
    assert along_z < 0.5 * min(along_x, along_y)


def test_the_views_say_the_same(pairs: Path) -> None:
    found = {
        name: scf.sampling_compensation(
            view_directions(torch.from_numpy(read_views(pairs / name / "particles.star.gz")[:8000]))
        )
        for name in (TOP, EVEN)
    }
    assert found[EVEN].scf_star > 0.95
    # 1.5 % of its views are even, and off the equator they are nearly all there is.
    assert found[TOP].scf_star < 0.1
