"""Finished runs for jobs that only look at latents and particles: the model has one volume whatever the latent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from cryobridge.bridge.worker.heterogeneity.run_folder import write_run
from cryobridge.core.latent import register
from cryobridge.schemas.envelope import RESULT_NAME
from cryobridge.wrappers.particles.particle_set import ParticleSet

BOX, VOXEL_A = 16, 3.0
_NAME = "test.still"


class StillModel:
    """One volume, of zeros."""

    name, box, voxel_size_A = _NAME, BOX, VOXEL_A

    def __init__(self, zdim: int) -> None:
        self.zdim = zdim

    def volumes(self, z: Tensor) -> Tensor:
        return torch.zeros(len(z), BOX, BOX, BOX)

    def stored(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"nothing": torch.zeros(1)}, {"model": _NAME, "zdim": self.zdim}

    def held(self) -> list[Tensor]:
        return []


register(_NAME, lambda _, description: StillModel(int(description["zdim"])))


class PlainFolder:
    """What `write_run` needs of a job's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_data(self, name: str, data: bytes) -> None:
        (self.path / name).write_bytes(data)

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        (self.path / name).write_bytes(safetensors.torch.save(dict(tensors), dict(metadata)))


def write_latent_run(path: Path, latents: np.ndarray, particles: ParticleSet, sha256: str | None = None) -> Path:
    """A finished run; with the hash of its table, where the result should have one."""
    path.mkdir(parents=True)
    write_run(PlainFolder(path), StillModel(latents.shape[1]), latents.astype(np.float32), None, particles)  # type: ignore[arg-type]
    if sha256 is not None:
        (path / RESULT_NAME).write_text(json.dumps({"inputs": {"particles": {"sha256": sha256}}}))
    return path
