"""A small `map.correct` job on half-maps that lie on the disk, and how to run it in this process."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cryobridge.bridge.worker.jobs.runner import run_job
from cryobridge.bridge.worker.loop import Progress
from cryobridge.schemas.kinds.map.correct import MapCorrectJob
from cryobridge.schemas.outputs import undeclared
from cryobridge.wrappers.formats import mrc

from .correction_data import noisy_pair

VOXEL_A = 2.0
LIMIT_A = 6.0
SMALL: dict[str, Any] = {"cube_size": 16, "crop_size": 32, "batch": 2, "steps": 2, "limit_resolution_A": LIMIT_A}


def correction_job(
    folder: Path, *, n: int = 24, name: str = "out", inputs: tuple[str, ...] = ("mask",), **options: Any
):
    """Write half-maps (n, n, n) and a mask once, and return the job's specification."""
    if not (folder / "half1.mrc").exists():
        half1, half2, _, mask = noisy_pair(n=n)
        for key, volume in (("half1", half1), ("half2", half2), ("mask", mask)):
            write(folder / f"{key}.mrc", volume)
    files = {key: str(folder / f"{key}.mrc") for key in ("half1", "half2", *inputs)}
    return {
        "schema": "cryobridge/job/1",
        "kind": "map.correct",
        "inputs": files,
        "output": str(folder / name),
        "options": {**SMALL, **options},
    }


def steps_of(spec: dict[str, Any]) -> Generator[Progress | None, None, dict[str, Any]]:
    """The steps of a job on the CPU."""
    return run_job(spec, torch.device("cpu"))


def finish(spec: dict[str, Any]) -> dict[str, Any]:
    """Run a job to its end; return its result. Fails if it left other files than its kind declares."""
    steps, result = steps_of(spec), None
    while result is None:
        try:
            next(steps)
        except StopIteration as end:
            result = dict(end.value)
    assert not result or undeclared(MapCorrectJob.outputs, result["outputs"]) == []
    return result


def write(path: Path, volume: Tensor) -> None:
    """Write a map."""
    mrc.write_atomically(path, volume.float().numpy(), VOXEL_A)


def read(path: Path) -> Tensor:
    """Read a map."""
    return torch.from_numpy(mrc.read(path)[0])
