"""A model of heterogeneity whose volumes are known in closed form, and finished runs of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from cryobridge.core.latent import Description, VolumeModel, register
from cryobridge.wrappers.formats.array_file import arrays_bytes

NAME = "blobs_of_tests"
WIDTH_VOXELS = 1.5


@dataclass(frozen=True)
class BlobModel:
    """A blob at rest, and one that the first number of the latent moves along x and the second makes stronger."""

    offset: Tensor
    box: int
    voxel_size_A: float
    zdim: int
    name: str = NAME

    def volumes(self, z: Tensor) -> Tensor:
        """Volumes (B, box, box, box) of latents (B, zdim)."""
        axis = torch.arange(self.box, dtype=torch.float32) - self.box // 2
        found = []
        for latent in z:
            move, more = (float(latent[0]), float(latent[1])) if self.zdim > 1 else (0.0, 0.0)
            found.append(self._blob(axis, -3.0, 0.0) + (1.0 + more) * self._blob(axis, 2.0 + move, 2.0))
        return torch.stack(found)

    def _blob(self, axis: Tensor, x: float, z: float) -> Tensor:
        x += float(self.offset)
        squared = (axis[:, None, None] - z) ** 2 + axis[:, None] ** 2 + (axis - x) ** 2
        return torch.exp(-squared / (2 * WIDTH_VOXELS**2))

    def stored(self) -> tuple[dict[str, Tensor], Description]:
        """What to store."""
        return {"offset": self.offset}, {
            "model": NAME,
            "box": self.box,
            "voxel_size_A": self.voxel_size_A,
            "zdim": self.zdim,
        }

    def held(self) -> list[Tensor]:
        """Its one tensor."""
        return [self.offset]


def _made(tensors: Mapping[str, Tensor], description: Description) -> VolumeModel:
    return BlobModel(tensors["offset"], description["box"], description["voxel_size_A"], description["zdim"])


register(NAME, _made)


def blob_run(folder: Path, latents: np.ndarray, box: int = 16, voxel_size_A: float = 2.0) -> Path:
    """The folder of a finished run of the model with these latents (N, zdim)."""
    folder.mkdir()
    tensors, description = BlobModel(torch.tensor(0.0), box, voxel_size_A, latents.shape[1]).stored()
    metadata = {"cryobridge": json.dumps(description)}
    (folder / "model.safetensors").write_bytes(safetensors.torch.save(tensors, metadata))
    (folder / "latents.npz").write_bytes(arrays_bytes({"z": latents.astype(np.float32)}))
    return folder
