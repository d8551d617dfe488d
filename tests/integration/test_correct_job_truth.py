"""The whole correction job against the truth: a missing cone is filled, and nothing is lost elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.correction_job import finish

from cryobridge.bridge.worker.kinds.map.correct import job as correct
from cryobridge.core.volume.phantom import cone_regions, phantom_pair, truth_score
from cryobridge.wrappers.formats import mrc

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_the_cone_is_nearer_to_the_truth_and_the_rest_no_farther(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(correct, "page", lambda _: "")
    pair = phantom_pair()
    for name, volume in (("half1", pair.half1), ("half2", pair.half2), ("mask", pair.mask)):
        mrc.write_atomically(tmp_path / f"{name}.mrc", volume.numpy(), pair.voxel_size_A)
    finish(
        {
            "schema": "cryobridge/job/1",
            "kind": "map.correct",
            "inputs": {name: str(tmp_path / f"{name}.mrc") for name in ("half1", "half2", "mask")},
            "output": str(tmp_path / "out"),
            "options": {"steps": 60, "limit_resolution_A": pair.resolution_A},
        }
    )
    corrected = torch.from_numpy(mrc.read(tmp_path / "out/corrected.mrc")[0])
    measured = (pair.half1 + pair.half2) / 2
    inside, outside = cone_regions(pair)
    assert truth_score(pair, corrected, inside) > truth_score(pair, measured, inside) + 0.1
    assert truth_score(pair, corrected, outside) > truth_score(pair, measured, outside) - 0.01
    assert truth_score(pair, corrected) > truth_score(pair, measured) + 0.1
