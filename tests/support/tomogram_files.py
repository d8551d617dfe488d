"""Small tomograms and what belongs to them, as files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from cryobridge.wrappers.formats import mrc


def write_tomogram(path: Path, shape: tuple[int, int, int] = (8, 12, 10), voxel_size_A: float = 10.0) -> Path:
    """A tomogram (z, y, x) of noise, in a folder that is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = np.random.default_rng(sum(map(ord, path.name))).normal(size=shape).astype(np.float32)
    mrc.write_atomically(path, volume, voxel_size_A)
    return path


def with_cell(path: Path, *edges_A: float) -> Path:
    """The same file with other edges of its cell (x, y, z), from which readers take the voxel size."""
    raw = bytearray(path.read_bytes())
    struct.pack_into("<3f", raw, 40, *edges_A)
    path.write_bytes(bytes(raw))
    return path


def write_tilts(path: Path, lowest_deg: float = -51.0, highest_deg: float = 60.0, step_deg: float = 3.0) -> Path:
    """Tilt angles as IMOD writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{angle:8.2f}\n" for angle in np.arange(lowest_deg, highest_deg + 0.01, step_deg)))
    return path


def write_measured(
    path: Path, lowest_deg: float, highest_deg: float, axis: str = "y", shape: tuple[int, int, int] = (48, 64, 64)
) -> Path:
    """A tomogram of white noise, (z, y, x), of which a range of tilts about an axis was measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    spectrum = np.fft.fftn(np.random.default_rng(5).normal(size=shape))
    kz, ky, kx = np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")
    angle = np.degrees(np.arctan2(kz, kx if axis == "y" else ky))
    angle = (angle + 90) % 180 - 90
    spectrum[(angle < lowest_deg) | (angle > highest_deg)] = 0
    mrc.write_atomically(path, np.fft.ifftn(spectrum).real.astype(np.float32), 10.0)
    return path
