"""Particles of two exposure groups, for conversions."""

from __future__ import annotations

import numpy as np
import pytest
from support.particle_tables import ROWS


@pytest.fixture
def columns() -> dict[str, np.ndarray]:
    """Particles of two exposure groups, binned by two after the refinement."""
    generator = np.random.default_rng(1)

    def draw(*shape: int) -> np.ndarray:
        return generator.uniform(-1, 1, (ROWS, *shape)).astype(np.float32)

    return {
        "uid": np.arange(100, 100 + ROWS, dtype=np.uint64),
        "blob/path": np.array([">J1/a.mrc", ">J1/b.mrc"] * 3),
        "blob/idx": np.arange(ROWS, dtype=np.uint32),
        "blob/shape": np.full((ROWS, 2), 64, np.uint32),
        "blob/psize_A": np.full(ROWS, 3.0, np.float32),
        "blob/sign": np.ones(ROWS, np.float32),
        "ctf/exp_group_id": np.array([907, 12, 907, 12, 12, 907], np.uint32),
        "ctf/accel_kv": np.full(ROWS, 300, np.float32),
        "ctf/cs_mm": np.full(ROWS, 2.7, np.float32),
        "ctf/amp_contrast": np.full(ROWS, 0.1, np.float32),
        "ctf/df1_A": 10_000 + 1000 * draw(),
        "ctf/df2_A": 9000 + 1000 * draw(),
        "ctf/df_angle_rad": draw(),
        "ctf/phase_shift_rad": 1 + draw(),
        "ctf/tilt_A": np.tile(np.array([[4000.0, -7000.0]], np.float32), (ROWS, 1)),
        "ctf/anisomag": np.tile(np.array([[0.01, 0.002, -0.003, -0.02]], np.float32), (ROWS, 1)),
        "alignments3D/pose": 2 * draw(3),
        "alignments3D/shift": 5 * draw(2),
        "alignments3D/psize_A": np.full(ROWS, 1.5, np.float32),
        "alignments3D/split": np.array([0, 1, 1, 0, 1, 0], np.uint32),
        "location/micrograph_path": np.array(["J0/m.mrc"] * ROWS),
        "location/micrograph_shape": np.tile(np.array([[4092, 5760]], np.uint32), (ROWS, 1)),
        "location/center_x_frac": np.linspace(0.1, 0.9, ROWS).astype(np.float32),
        "location/center_y_frac": np.linspace(0.8, 0.2, ROWS).astype(np.float32),
    }
