"""A finished training of heterogeneity as later jobs find it: its model, latents, particles, epochs.

`model.safetensors`
    The model's tensors, and its description as JSON in the file's metadata.
`latents.npz`
    `z` (N, zdim) and `log_variance` (N, zdim), row i of image i of the particles.
`particles.npz`
    The particles that were used, see `wrappers/particles/set_arrays.py`.
`latents.cs`
    The latents by CryoSPARC's ids, where the particles have any: what a card gives back.
`latents_epoch_<e>.npz`
    The latents after epoch e, counted from 1, where they were kept.

Folders of cryoDRGN are opened as well; their epochs are numbered as their files are.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cryobridge.core.latent import VolumeModel, model_of
from cryobridge.schemas.errors import InputInvalid
from cryobridge.schemas.plain_file import open_plain
from cryobridge.wrappers.cryodrgn import is_peer_run, read_peer_latents, read_peer_run
from cryobridge.wrappers.formats.array_file import arrays_bytes, read_arrays
from cryobridge.wrappers.formats.cs_table import table_bytes
from cryobridge.wrappers.formats.tensor_file import TensorFile
from cryobridge.wrappers.particles.latent_slots import table_of_latents
from cryobridge.wrappers.particles.particle_set import ParticleSet
from cryobridge.wrappers.particles.set_arrays import arrays_of, set_of

from ..jobs.folder import OutputFolder
from .objects import Objects

MODEL, LATENTS, PARTICLES = "model.safetensors", "latents.npz", "particles.npz"
EPOCHS = "latents_epoch_*.npz"
CRYOSPARC_LATENTS = "latents.cs"
_EPOCH = re.compile(r"latents_epoch_(\d{1,6})\.npz")
_DESCRIPTION = "cryobridge"
_MOST_TABLE_BYTES = 1 << 24

Latents = NDArray[np.float32]


@dataclass(frozen=True)
class LatentRun:
    """A finished run.

    Attributes
    ----------
    path
        Its folder.
    model
        On the device that it was opened for.
    latents, log_variances
        (N, zdim) of the particles; the second None where there is none.
    particles
        None where a run does not say which they were.
    epochs
        Latents by epoch, counted from 1, as far as they were kept; files, so that few are held at a time. Of a run of
        cryoDRGN they are numbered as its files are.
    remarks
        What a reader must know of the run, in sentences.
    peer_contrast
        What cryoDRGN took the images of a run of its own for; None for a run of ours.
    """

    path: Path
    model: VolumeModel
    latents: Latents
    log_variances: Latents | None
    particles: ParticleSet | None
    epochs: Mapping[int, Path]
    remarks: Sequence[str] = ()
    peer_contrast: Literal["bright", "dark"] | None = None

    @property
    def objects(self) -> Objects:
        """Which rows are objects, by the latents that the run was opened with."""
        return self.objects_in(self.latents)

    def objects_in(self, latents: Latents) -> Objects:
        """Which rows are objects, by latents (N, zdim) of any epoch."""
        return Objects.of(latents, self.particles)

    def latents_of_epoch(self, epoch: int) -> Latents:
        """Latents after an epoch, (N, zdim).

        Raises
        ------
        InputInvalid
            If they were not kept.
        """
        if epoch not in self.epochs:
            kept = ", ".join(map(str, sorted(self.epochs))) or "none"
            raise InputInvalid(f"{self.path}: latents of epoch {epoch} were not kept (kept: {kept})")
        found = _latents_in(self.epochs[epoch])
        if found.shape != self.latents.shape:
            raise InputInvalid(
                f"{self.epochs[epoch]}: holds latents of shape {found.shape}, the run's are of {self.latents.shape}; "
                f"run the training again"
            )
        return found


def write_run(
    folder: OutputFolder, model: VolumeModel, latents: Latents, log_variances: Latents | None, particles: ParticleSet
) -> None:
    """Write the model, the latents and the particles into a job's folder, and latents for CryoSPARC's own particles."""
    tensors, description = model.stored()
    folder.write_tensors(MODEL, tensors, {_DESCRIPTION: json.dumps(description)})
    found = {"z": latents} if log_variances is None else {"z": latents, "log_variance": log_variances}
    folder.write_data(LATENTS, arrays_bytes(found))
    folder.write_data(PARTICLES, arrays_bytes(arrays_of(particles)))
    if particles.uid is not None and latents.shape[1]:
        folder.write_data(CRYOSPARC_LATENTS, table_bytes(table_of_latents(particles.uid, latents)))


def read_run(path: Path, device: torch.device, epoch: int | None = None) -> LatentRun:
    """Open a finished run, ours or cryoDRGN's.

    Parameters
    ----------
    epoch
        Whose latents are wanted, and of a run of cryoDRGN whose model; the last if None.

    Raises
    ------
    InputInvalid
        If a file is missing, damaged, or of another run, or the epoch was not kept.
    """
    if is_peer_run(path) and not (path / MODEL).is_file():
        peer = read_peer_run(path, device, epoch)
        return LatentRun(
            path,
            peer.model,
            peer.latents,
            peer.log_variances,
            peer.particles,
            peer.epochs,
            peer.remarks,
            peer.contrast,
        )
    found = _read_ours(path, device)
    if epoch is None:
        return found
    return replace(found, latents=found.latents_of_epoch(epoch), log_variances=None)


def _read_ours(path: Path, device: torch.device) -> LatentRun:
    arrays = read_arrays(path / LATENTS)
    latents = _finite_latents(arrays, "z", path / LATENTS)
    log_variances = _finite_latents(arrays, "log_variance", path / LATENTS) if "log_variance" in arrays else None
    if log_variances is not None and log_variances.shape != latents.shape:
        raise InputInvalid(
            f"{path / LATENTS}: 'log_variance' is of shape {log_variances.shape}, 'z' of {latents.shape}; run the "
            f"training again"
        )
    table = path / PARTICLES
    particles = set_of(read_arrays(table), table) if table.is_file() else None
    if particles is not None and len(particles) != len(latents):
        raise InputInvalid(
            f"{path}: has latents of {len(latents)} particles, and {len(particles)} particles; run the training again"
        )
    model = read_model(path / MODEL, device)
    if model.zdim != latents.shape[1]:
        raise InputInvalid(
            f"{path}: its latents are of {latents.shape[1]} numbers, its model takes {model.zdim}; run it again"
        )
    epochs = {
        int(match[1]): path / name for name in sorted(os.listdir(path)) if (match := _EPOCH.fullmatch(name)) is not None
    }
    return LatentRun(path, model, latents, log_variances, particles, epochs)


def read_model(path: Path, device: torch.device) -> VolumeModel:
    """Open a stored model.

    Raises
    ------
    InputInvalid
        If it cannot be read, or is no model of heterogeneity.
    """
    try:
        descriptor = open_plain(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputInvalid(f"{path}: cannot be read ({reason}); give the folder of a finished training") from error
    try:
        file = TensorFile(descriptor, most_table_bytes=_MOST_TABLE_BYTES)
        description = dict(json.loads(file.metadata[_DESCRIPTION]))
        return model_of({name: file.read(name) for name in file.names}, description, device)
    except (ValueError, KeyError, TypeError, OSError, OverflowError) as error:
        raise InputInvalid(f"{path}: is no model of heterogeneity, or damaged ({error}); train again") from error
    finally:
        os.close(descriptor)


def _latents_in(path: Path) -> Latents:
    """Latents of an epoch's file, ours or cryoDRGN's."""
    if path.suffix == ".pkl":
        return read_peer_latents(path)
    return _finite_latents(read_arrays(path), "z", path)


def _finite_latents(arrays: Mapping[str, NDArray[np.generic]], name: str, path: Path) -> Latents:
    found = arrays.get(name)
    if found is None or found.ndim != 2 or found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        raise InputInvalid(f"{path}: holds no '{name}' (N, zdim) of finite numbers; run the training again")
    return found.astype(np.float32)
