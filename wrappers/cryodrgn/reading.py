"""A run of cryoDRGN as a model, latents and particles."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cryobridge.core.latent import CoordinateModel
from cryobridge.core.particles import soft_window
from cryobridge.schemas.errors import InputInvalid

from ..formats.pickled_arrays import read_pickled
from ..formats.torch_archive import read_named_tensors
from ..particles.given_tables import with_poses
from ..particles.particle_set import ParticleSet
from ..particles.reading import read_particles
from .config import PICKLE, YAML, PeerConfig, read_config
from .weights import NamedWeights, ours_of

_WEIGHTS, _LATENTS, _POSES = "weights", "z", "pose"
_STATE = "model_state_dict"
_NUMBERED = re.compile(r"(weights|z)\.(\d{1,6})\.pkl")


@dataclass(frozen=True)
class PeerRun:
    """A run.

    Attributes
    ----------
    model
        On the device that it was opened for.
    latents, log_variances
        (N, zdim) float32; (N, 0) and None where there is no latent.
    particles
        None where they are not used: they are not found, or are no longer those of the latents.
    epochs
        Files of latents by epoch, numbered as the run numbers them.
    counts_from
        Number of its first epoch, 0 or 1.
    contrast
        What its images were taken for: "bright" where they were inverted.
    remarks
        What a reader must know of it, in sentences.
    """

    model: CoordinateModel
    latents: NDArray[np.float32]
    log_variances: NDArray[np.float32] | None
    particles: ParticleSet | None
    epochs: Mapping[int, Path]
    counts_from: int
    contrast: Literal["bright", "dark"]
    remarks: tuple[str, ...]


def is_peer_run(folder: Path) -> bool:
    """Whether a folder looks like a run of cryoDRGN and not like one of ours."""
    return any((folder / name).is_file() for name in (YAML, PICKLE))


def read_peer_run(folder: Path, device: torch.device, epoch: int | None = None) -> PeerRun:
    """Open a run; nothing that it holds is run.

    Parameters
    ----------
    epoch
        As the run numbers it; its last if None.

    Raises
    ------
    InputInvalid
        If a file is missing, damaged, would run code, or is of a network that is not known here.
    """
    config = read_config(folder)
    epochs = _epochs(folder)
    weights = _file_of(folder, _WEIGHTS, epoch, epochs, config)
    named = _named(weights, config)
    latents, log_variances = _latents(folder, epoch, epochs, config)
    particles, unused = _particles(folder, config, epoch, len(latents) if named.shape.zdim else None)
    if not named.shape.zdim and particles is not None:
        latents = np.zeros((len(particles), 0), np.float32)
    base = f"Epochs of this run count from {config.counts_from}, as those of cryoDRGN do {_SINCE[config.counts_from]}."
    remarks = [base] if named.shape.zdim else []
    if particles is None:
        remarks.append(f"{config.path}: its particles are not used: {unused}.")
    model = _model(named, config, _voxel_size_A(folder, config, particles), device)
    # Its CTF has the other sign, so it is bright particles that it inverts.
    contrast: Literal["bright", "dark"] = "bright" if config.dataset.get("invert_data", True) else "dark"
    kept = epochs[_LATENTS]
    return PeerRun(model, latents, log_variances, particles, kept, config.counts_from, contrast, tuple(remarks))


_SINCE = {0: "before version 3.5", 1: "since version 3.5"}


def read_peer_latents(path: Path) -> NDArray[np.float32]:
    """Latents (N, zdim) of a `z.N.pkl`.

    Raises
    ------
    InputInvalid
        If it holds none.
    """
    return _pair(path)[0]


def _pair(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Means and logarithms of variances of a file of latents, in which they lie one behind the other."""
    found = read_pickled(path)
    arrays = [np.asarray(one, np.float32) for one in found if isinstance(one, np.ndarray) and one.dtype.kind in "fiu"]
    wrong = not arrays or arrays[0].ndim != 2 or not all(np.isfinite(one).all() for one in arrays)
    if wrong or any(one.shape != arrays[0].shape for one in arrays):
        raise InputInvalid(f"{path}: holds no latents (N, zdim) of finite numbers; give a z.N.pkl of cryoDRGN")
    return arrays[0], arrays[1] if len(arrays) > 1 else None


def _epochs(folder: Path) -> dict[str, dict[int, Path]]:
    """Files of weights and of latents by epoch."""
    found: dict[str, dict[int, Path]] = {_WEIGHTS: {}, _LATENTS: {}}
    for name in sorted(os.listdir(folder)):
        if (match := _NUMBERED.fullmatch(name)) is not None:
            found[match[1]][int(match[2])] = folder / name
    return found


def _file_of(
    folder: Path, what: str, epoch: int | None, epochs: Mapping[str, Mapping[int, Path]], config: PeerConfig
) -> Path:
    """The file of an epoch; without one, that of the last which has both weights and latents, or has no number."""
    if epoch is not None:
        if epoch not in epochs[what]:
            kept = ", ".join(map(str, sorted(epochs[what]))) or "none"
            raise InputInvalid(
                f"{folder}: has no {what}.{epoch}.pkl; its epochs count from {config.counts_from}, and there are {kept}"
            )
        return epochs[what][epoch]
    both = set(epochs[_WEIGHTS]) & set(epochs[_LATENTS]) if config.shape.zdim else set(epochs[_WEIGHTS])
    if both:
        return epochs[what][max(both)]
    if (folder / f"{what}.pkl").is_file():
        return folder / f"{what}.pkl"
    raise InputInvalid(f"{folder}: has no {what}.N.pkl; give the folder of a finished cryoDRGN training")


def _named(weights: Path, config: PeerConfig) -> NamedWeights:
    state = read_named_tensors(weights, _STATE)
    try:
        return ours_of(state, config.shape, config.encoder_radius)
    except (ValueError, KeyError, IndexError, RuntimeError) as error:
        raise InputInvalid(
            f"{weights}: does not fit {config.path.name} ({error}); give a folder as cryoDRGN left it"
        ) from error


def _model(named: NamedWeights, config: PeerConfig, voxel_size_A: float, device: torch.device) -> CoordinateModel:
    window = None if config.window_radius is None else soft_window(config.shape.box, config.window_radius)
    # Of its images, noise has variance 1 before they are windowed; of prepared ones, 1 in each part after.
    scale = math.sqrt((1.0 if window is None else float(window.square().mean())) / 2)
    corners = named.shape.domain == "hartley"
    description = {
        "model": CoordinateModel.name,
        "network": named.shape.as_json(),
        "voxel_size_A": voxel_size_A,
        "norm": config.norm,
        "scale": scale,
        "corners": corners,
    }
    tensors = {name: value.to(device) for name, value in named.tensors.items()}
    try:
        return CoordinateModel.of(tensors, description)
    except ValueError as error:
        raise InputInvalid(f"{config.path.parent}: its weights do not fit {config.path.name} ({error})") from error


def _latents(
    folder: Path, epoch: int | None, epochs: Mapping[str, Mapping[int, Path]], config: PeerConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    if not config.shape.zdim:
        return np.zeros((0, 0), np.float32), None
    path = _file_of(folder, _LATENTS, epoch, epochs, config)
    mean, log_variance = _pair(path)
    if mean.shape[1] != config.shape.zdim:
        raise InputInvalid(f"{path}: has latents of {mean.shape[1]} numbers, its model takes {config.shape.zdim}")
    return mean, log_variance


def _particles(
    folder: Path, config: PeerConfig, epoch: int | None, count: int | None
) -> tuple[ParticleSet | None, str]:
    """The particles of a run, or None and why: a file of them is gone, or they are others by now."""
    data = config.dataset
    stack = _found(folder, data.get("particles"))
    if stack is None:
        return None, f"{data.get('particles')} is not found where it was"
    if data.get("ntilts") is not None:
        return None, "they are tilt series, of which its latents have a row for each particle and not for each image"
    learned = folder / (f"{_POSES}.pkl" if epoch is None else f"{_POSES}.{epoch}.pkl")
    selection = _found(folder, data.get("ind"))
    if selection is None and data.get("ind") is not None:
        # Without it all would be taken for the selected ones.
        return None, f"their selection {data['ind']} is not found where it was"
    try:
        particles = read_particles(
            stack,
            poses=_found(folder, data.get("poses")),
            ctf=_found(folder, data.get("ctf")),
            selection=selection,
            datadir=_found(folder, data.get("datadir")),
        )
        if data.get("do_pose_sgd") and learned.is_file():
            # From its second checkpoint on the file has shifts that were divided by the box once too often.
            particles = replace(particles, rotations=with_poses(particles, learned, selection).rotations)
    except InputInvalid as error:
        return None, str(error)
    if count is not None and len(particles) != count:
        return None, f"{stack} has {len(particles)} images by now, and there are latents of {count}"
    return particles, ""


def _found(folder: Path, name: Any) -> Path | None:
    """A file of a run where it was, or beside the run."""
    if not isinstance(name, str) or not name:
        return None
    places = (Path(name), folder / Path(name).name, folder.parent / Path(name).name)
    return next((place for place in places if place.exists()), None)


def _voxel_size_A(folder: Path, config: PeerConfig, particles: ParticleSet | None) -> float:
    """Of its volumes: from the particles, from the table of CTF, or 1 A where nothing says it, as cryoDRGN does."""
    if particles is not None:
        return float(np.median(particles.pixel_size_A)) * particles.box / config.shape.box
    path = _found(folder, config.dataset.get("ctf"))
    if path is not None:
        table = read_pickled(path)[0]
        if isinstance(table, np.ndarray) and table.ndim == 2 and table.shape[1] == 9 and len(table):
            return float(table[0, 0] * table[0, 1]) / config.shape.box
    return 1.0
