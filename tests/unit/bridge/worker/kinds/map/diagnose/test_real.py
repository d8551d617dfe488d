"""`map.diagnose` on half-maps of real images, whose sampling is known from their tilt geometry."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.map_jobs import read_back, run_map_job

from cryobridge.core.diagnosis.holdout import Cone
from cryobridge.core.fourier.shells import shell_index
from cryobridge.core.fourier.transforms import half_of_centred

pytestmark = pytest.mark.shared


@pytest.mark.slow
def test_the_best_direction_is_sampled_more_than_the_worst(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "halfmaps_real_tiny" / "emp10499_70s_box32"
    if not folder.is_dir():
        pytest.skip("data/halfmaps_real_tiny is not in the shared data folder")
    files = {name: folder / f"{name}.mrc.gz" for name in ("half1", "half2")}
    metrics = run_map_job("map.diagnose", tmp_path / "out", files)[0]["metrics"]
    assert 32 < metrics["resolution_A"] < 48
    sampling = half_of_centred(sum(read_back(folder / f"weight{half}.mrc.gz") for half in (1, 2)).float())
    shell = shell_index(32)
    used = (shell >= 4) & (shell <= 12)
    weights = [
        float(sampling[Cone(torch.tensor([metrics[f"{which}_direction_xyz"][::-1]]), 20.0).member(32) & used].mean())
        for which in ("best", "worst")
    ]
    assert weights[0] > 1.1 * weights[1]
