"""Particles of CryoSPARC with poses of every sort, the same on every machine: no random numbers are drawn."""

from __future__ import annotations

import numpy as np

BOX, BINNED_BOX, PIXEL_A, BINNED_PIXEL_A = 256, 128, 1.25, 2.5
"""Of the refinement, and of the images, which were binned by two after it."""
_AT_POLES = np.array(
    [[0, 0, 0], [0, 0, np.pi], [0, 0, -1.0], [np.pi, 0, 0], [0, np.pi, 0], [np.pi, np.pi, 0], [0, 1e-4, 0]]
)
"""No rotation at all, about the beam only, views from straight below, and one that is all but at the pole."""
_NEAR_PI = 3.1415


def spread_particles(rows: int = 1000) -> dict[str, np.ndarray]:
    """A table of so many particles, those at the poles and those turned by nearly pi first."""
    place = np.arange(rows)
    # Roots of a cubic and their powers spread evenly in as many dimensions as there are powers.
    fractions = (0.5 + place[:, None] / 1.2207440846057596 ** np.arange(1, 9)) % 1
    height, around = 2 * fractions[:, 0] - 1, 2 * np.pi * fractions[:, 1]
    across = np.sqrt(1 - height**2)
    axes = np.stack([across * np.cos(around), across * np.sin(around), height], axis=1)
    angles = np.where(place < 17, _NEAR_PI, np.pi * fractions[:, 2])
    pose = axes * angles[:, None]
    at_poles = _AT_POLES / np.array([1, 1, 1, 1, 1, np.sqrt(2), 1])[:, None]
    pose[: len(at_poles)] = at_poles[:rows]
    numbers = {
        "blob/psize_A": np.full(rows, BINNED_PIXEL_A),
        "blob/sign": np.ones(rows),
        "ctf/accel_kv": np.full(rows, 300.0),
        "ctf/cs_mm": np.full(rows, 2.7),
        "ctf/amp_contrast": np.full(rows, 0.1),
        "ctf/df1_A": 8000 + 20_000 * fractions[:, 3],
        "ctf/df2_A": 7800 + 20_000 * fractions[:, 3],
        "ctf/df_angle_rad": np.pi * (fractions[:, 4] - 0.5),
        "ctf/phase_shift_rad": np.pi * fractions[:, 5],
        "alignments3D/pose": pose,
        "alignments3D/shift": 20 * (fractions[:, 6:8] - 0.5),
        "alignments3D/psize_A": np.full(rows, PIXEL_A),
    }
    return {
        "uid": place.astype(np.uint64) + np.uint64(2**63),
        "blob/path": np.array([f"J1/stack_{number % 3}.mrc" for number in place]),
        "blob/idx": place.astype(np.uint32),
        "blob/shape": np.full((rows, 2), BINNED_BOX, np.uint32),
        "ctf/exp_group_id": (901 - 7 * (place % 3)).astype(np.uint32),
        "alignments3D/split": (place % 2).astype(np.uint32),
        **{column: values.astype(np.float32) for column, values in numbers.items()},
    }
