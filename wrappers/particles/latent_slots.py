"""Latents of particles as CryoSPARC has the components of its 3D Variability: slots `components_mode_0`, and so on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..formats.cs_table import UID, Columns


def latent_slots(latents: NDArray[np.float32]) -> Columns:
    """Columns of latents (N, zdim): for each dimension a slot with the fields `component` and `value`."""
    found: Columns = {}
    for mode in range(latents.shape[1]):
        found[f"components_mode_{mode}/component"] = np.full(len(latents), mode, np.uint32)
        found[f"components_mode_{mode}/value"] = latents[:, mode].astype(np.float32)
    return found


def table_of_latents(uid: NDArray[np.uint64], latents: NDArray[np.float32]) -> Columns:
    """A table of particles (N,) by CryoSPARC's ids with nothing but their latents (N, zdim)."""
    return {UID: uid.astype(np.uint64), **latent_slots(latents)}
