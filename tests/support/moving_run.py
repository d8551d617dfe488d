"""A finished run whose model is known: a blob moves with the first number of the latent and grows with the second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from cryobridge.bridge.worker.heterogeneity.run_folder import write_run
from cryobridge.core.latent import VolumeModel, register
from cryobridge.wrappers.formats.array_file import arrays_bytes
from cryobridge.wrappers.particles.particle_set import CtfColumns, ParticleSet, TiltColumns

BOX, VOXEL_A = 16, 4.0
_NAME = "test.moving"


class MovingModel:
    """A ball at the centre, and a smaller one beside it at y = 2 z1 voxels whose height is 1 + z2 / 4."""

    name, box, voxel_size_A = _NAME, BOX, VOXEL_A

    def __init__(self, zdim: int) -> None:
        self.zdim = zdim

    def volumes(self, z: Tensor) -> Tensor:
        axis = torch.arange(BOX, dtype=torch.float32) - BOX // 2
        grid_z, grid_y, grid_x = torch.meshgrid(axis, axis, axis, indexing="ij")
        body = torch.exp(-(grid_z**2 + grid_y**2 + grid_x**2) / 8)
        found = []
        for latent in z:
            height = 1 + (latent[1] / 4 if self.zdim > 1 else 0)
            arm = torch.exp(-(grid_z**2 + (grid_y - 2 * latent[0]) ** 2 + (grid_x - 5) ** 2) / 4)
            found.append(body + height * arm)
        return torch.stack(found) if found else torch.zeros(0, BOX, BOX, BOX)

    def stored(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"nothing": torch.zeros(1)}, {"model": _NAME, "zdim": self.zdim}

    def held(self) -> list[Tensor]:
        return []


register(_NAME, lambda _, description: MovingModel(int(description["zdim"])))


class _RunFiles:
    """What `write_run` needs of a job's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_data(self, name: str, data: bytes) -> None:
        (self.path / name).write_bytes(data)

    def write_tensors(self, name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
        (self.path / name).write_bytes(safetensors.torch.save(dict(tensors), dict(metadata)))


def made_up_set(count: int, seed: int = 0, defocus_A: np.ndarray | None = None) -> ParticleSet:
    """Particles of two micrographs with random views."""
    random = np.random.default_rng(seed)
    defocus_A = random.uniform(8000, 20000, count) if defocus_A is None else defocus_A
    turns = np.linalg.qr(random.normal(size=(count, 3, 3)))[0]
    turns *= np.sign(np.linalg.det(turns))[:, None, None]
    whole = np.arange(count, dtype=np.int64)
    same = np.ones(count)
    return ParticleSet(
        name="particles.star",
        source=None,
        rows=whole,
        stacks=(Path("stack.mrcs"),),
        stack=0 * whole,
        number=whole,
        box=BOX,
        pixel_size_A=VOXEL_A * same,
        optics_group=0 * whole,
        micrograph=whole % 4,
        half=1 + whole % 2,
        micrographs=("a", "b", "c", "d"),
        rotations=turns,
        shifts_A=random.normal(size=(count, 2)),
        ctf=CtfColumns(defocus_A, defocus_A, 0 * same, 300 * same, 2.7 * same, 0.1 * same, 0 * same, 0 * same, same),
    )


def made_up_series(objects: int, tilts: int) -> ParticleSet:
    """So many images of each object, tilt by tilt: image i shows object i % objects."""
    count = objects * tilts
    of = np.arange(count, dtype=np.int64) % objects
    return replace(made_up_set(count), tilts=TiltColumns(of, np.zeros(count), np.zeros(count)))


def write_files(
    path: Path,
    model: VolumeModel,
    latents: np.ndarray,
    *,
    particles: ParticleSet,
    log_variances: np.ndarray | None = None,
) -> None:
    """Write the folder of a run of any model with these latents (N, zdim)."""
    path.mkdir(parents=True)
    write_run(_RunFiles(path), model, latents.astype(np.float32), log_variances, particles)  # type: ignore[arg-type]


def write_moving_run(
    path: Path,
    latents: np.ndarray,
    *,
    particles: ParticleSet | None = None,
    log_variances: np.ndarray | None = None,
    epochs: Mapping[int, np.ndarray] | None = None,
) -> Path:
    """Write the folder of a run with these latents (N, zdim)."""
    held = made_up_set(len(latents)) if particles is None else particles
    write_files(path, MovingModel(latents.shape[1]), latents, particles=held, log_variances=log_variances)
    for epoch, kept in (epochs or {}).items():
        (path / f"latents_epoch_{epoch}.npz").write_bytes(arrays_bytes({"z": kept.astype(np.float32)}))
    (path / "training.csv").write_text("epoch,loss,kl\n1,2.0,0.1\n2,1.5,0.4\n")
    return path
