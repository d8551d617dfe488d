"""Poses, CTF and selections of a set as cryoDRGN's pickles have them; see `given_tables` for the formats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryobridge.schemas.errors import InputInvalid

from ..formats.pickled_arrays import pickled
from .particle_set import ParticleSet


def legacy_poses(particles: ParticleSet) -> bytes:
    """`pose.pkl`: rotations (N, 3, 3), and shifts (N, 2) in parts of the box.

    Raises
    ------
    InputInvalid
        If the set has no poses, or a shift is longer than the box, which cryoDRGN refuses.
    """
    if particles.rotations is None or particles.shifts_A is None:
        raise InputInvalid(f"{particles.name}: has no poses to write for cryoDRGN")
    shifts = particles.shifts_A / (particles.box * particles.pixel_size_A[:, None])
    if bool((np.abs(shifts) > 1).any()):
        raise InputInvalid(
            f"{particles.name}: has shifts longer than the box of {particles.box} pixels; see its origins"
        )
    return pickled((particles.rotations, shifts))


def legacy_ctf(particles: ParticleSet) -> bytes:
    """`ctf.pkl`: (N, 9) float32; raises `InputInvalid` where the set has no CTF."""
    ctf = particles.ctf
    if ctf is None:
        raise InputInvalid(f"{particles.name}: has no CTF parameters to write for cryoDRGN")
    columns = (
        np.full(len(particles), float(particles.box)),
        particles.pixel_size_A,
        ctf.defocus_u_A,
        ctf.defocus_v_A,
        ctf.defocus_angle_deg,
        ctf.voltage_kV,
        ctf.cs_mm,
        ctf.amplitude_contrast,
        ctf.phase_shift_deg,
    )
    return pickled(np.stack(columns, axis=1).astype(np.float32))


def legacy_selection(indices: NDArray[np.int64]) -> bytes:
    """`ind.pkl`: indices (K,) from 0 on."""
    return pickled(np.asarray(indices, np.int64))
