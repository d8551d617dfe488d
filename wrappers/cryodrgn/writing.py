"""Files of our runs as cryoDRGN has them, so that its programs and notebooks open them.

Poses, CTF and selections are written by `wrappers/particles/legacy_tables.py`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from cryobridge.core.latent import CoordinateModel

from ..formats.pickled_arrays import pickled
from ..particles.particle_set import ParticleSet
from .weights import peer_radius, theirs_of

_LAYOUT = "4.3.1"
"""The version whose layout it is: epochs count from 1."""


def peer_config(
    model: CoordinateModel, particles: ParticleSet, files: Mapping[str, Path], *, window_radius: float | None, seed: int
) -> str:
    """`config.yaml` of a run.

    Parameters
    ----------
    files
        Absolute paths of "particles", and of "poses", "ctf", "ind" and "datadir" where there are any. Tables have a
        row for each of the particles' own, of which "ind" selects.
    window_radius
        Where the window of its images begins; None without one.

    Raises
    ------
    ValueError
        If cryoDRGN has no network of this sort.
    """
    shape = model.shape
    network: dict[str, Any] = {
        "pe_type": shape.encoding,
        "feat_sigma": shape.feature_sigma,
        "pe_dim": None if shape.encoding_count == shape.box // 2 else shape.encoding_count,
        "domain": shape.domain,
        "activation": shape.activation,
    }
    if shape.zdim:
        network |= {
            "zdim": shape.zdim,
            "encode_mode": "mlp" if shape.encoder == "mlp" else "resid",
            "qlayers": shape.encoder_layers,
            "qdim": shape.encoder_width,
            "players": shape.decoder_layers,
            "pdim": shape.decoder_width,
            "enc_mask": peer_radius(shape),
            "tilt_params": {"ntilts": 10, "t_emb_dim": 64, "tdim": 1024, "tlayers": 3},
        }
    else:
        network |= {"layers": shape.decoder_layers, "dim": shape.decoder_width}
    table = {
        "cmd": ["cryobridge", "vae", "train"],
        "dataset_args": {
            "particles": str(files["particles"]),
            **{name: str(files[name]) if name in files else None for name in ("poses", "ctf", "ind", "datadir")},
            "do_pose_sgd": False,
            "invert_data": particles.contrast != "dark",
            "keepreal": False,
            "norm": [0.0, model.norm],
            "window": window_radius is not None,
            "window_r": 0.85 if window_radius is None else window_radius,
        },
        "lattice_args": {"D": shape.box + 1, "extent": 0.5, "ignore_DC": True},
        "model_args": network,
        "seed": seed,
        "version": _LAYOUT,
    }
    return yaml.safe_dump(table)


def peer_weights(model: CoordinateModel, epoch: int) -> bytes:
    """`weights.N.pkl` of a model: plain tensors by cryoDRGN's names, in an archive of PyTorch's.

    Raises
    ------
    ValueError
        If cryoDRGN has no network of this sort.
    """
    tensors, _ = model.stored()
    saved: dict[str, Any] = {
        "epoch": epoch,
        "model_state_dict": {name: one.contiguous() for name, one in theirs_of(tensors, model.shape).items()},
        "optimizer_state_dict": {"state": {}, "param_groups": []},
    }
    if not model.shape.zdim:
        saved["norm"] = (0.0, model.norm)
    file = io.BytesIO()
    torch.save(saved, file)
    return file.getvalue()


def peer_latents(latents: NDArray[np.float32], log_variances: NDArray[np.float32] | None) -> bytes:
    """`z.N.pkl`: means and logarithms of variances, one pickle behind the other."""
    spread = np.zeros_like(latents) if log_variances is None else log_variances
    return pickled(np.asarray(latents, np.float32), np.asarray(spread, np.float32))
