"""How far `tomo.correct` lets a training lead a network away from what it had learned before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from support.halved_tomogram import halves, truth, write_halves
from support.map_jobs import run_map_job

from cryobridge.bridge.worker.kinds.tomo.correct import job as job_module
from cryobridge.bridge.worker.tomograms import wedge_trials
from cryobridge.bridge.worker.tomograms.wedge_network import OURS, read_wedge_network
from cryobridge.schemas.kinds.tomo.correct import PRETRAINED_WIDTH

FAST: dict[str, Any] = {"cube_size": 16, "batch": 2, "steps": 3, "check_wedge": False, "preview_every_s": 0}


def test_a_training_goes_half_of_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_halves(tmp_path, "ts1", *halves(truth((16, 32, 32))))
    source = {"tomograms": tmp_path / "even"}
    run_map_job("tomo.correct", tmp_path / "first", source, {**FAST, "start": "untrained", "base_width": 2})
    source["network"] = tmp_path / "first" / "network.safetensors"
    monkeypatch.setattr(wedge_trials, "best_of", lambda trials: trials[1])
    run_map_job("tomo.correct", tmp_path / "half", source, FAST)
    monkeypatch.setattr(job_module, "_WAY", 1.0)
    run_map_job("tomo.correct", tmp_path / "whole", source, FAST)
    start, half, whole = (
        safetensors.torch.load_file(tmp_path / name / "network.safetensors") for name in ("first", "half", "whole")
    )
    assert not torch.equal(start["first.weight"], whole["first.weight"])
    for name, value in half.items():
        torch.testing.assert_close(value, (start[name] + whole[name]) / 2, rtol=1e-5, atol=1e-7)


def test_memory_is_reckoned_with_the_width_of_the_network_that_comes() -> None:
    assert read_wedge_network(OURS).base_width == PRETRAINED_WIDTH
