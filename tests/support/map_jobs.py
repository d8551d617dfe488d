"""Jobs of one kind run here, without daemon or worker process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cryobridge.bridge.worker.jobs.runner import JobSteps, run_job
from cryobridge.schemas.job import JOB_MODELS
from cryobridge.schemas.outputs import undeclared
from cryobridge.wrappers.formats import mrc


def run_map_job(
    kind: str,
    output: Path,
    inputs: Mapping[str, Path | tuple[Path, ...]] | None = None,
    options: dict[str, Any] | None = None,
    device: str = "cpu",
) -> tuple[dict[str, Any], list[str]]:
    """The result of a job, and what it said on the way; fails if it left other files than its kind declares."""
    spec = {
        "schema": "cryobridge/job/1",
        "kind": kind,
        "inputs": {
            name: [str(one) for one in path] if isinstance(path, tuple) else str(path)
            for name, path in (inputs or {}).items()
        },
        "output": str(output),
        "options": options or {},
    }
    steps = run_job(spec, torch.device(device))
    said: list[str] = []
    result = _finished(steps, said)
    assert undeclared(JOB_MODELS[kind].outputs, result["outputs"]) == []
    return result, said


def _finished(steps: JobSteps, said: list[str]) -> dict[str, Any]:
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return dict(end.value)
        if step is not None:
            said.append(step.text)


def write_maps(folder: Path, voxel_size_A: float, **maps: torch.Tensor) -> dict[str, Path]:
    """Files of maps (n, n, n), by name."""
    paths = {}
    for name, volume in maps.items():
        paths[name] = folder / f"{name}.mrc"
        mrc.write_atomically(paths[name], volume.float().numpy(), voxel_size_A)
    return paths


def read_back(path: Path) -> torch.Tensor:
    """A map that a job wrote, float64."""
    return torch.from_numpy(mrc.read(path)[0]).double()
