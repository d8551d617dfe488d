"""Small subtomograms of a known object, as a user has them, and a refine of them that takes a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.tomograms.subtomo_table import subtomo_star

CUBE, CROP = 16, 24
QUICK: dict[str, Any] = {
    "iterations": 2,
    "epochs": 2,
    "steps_per_epoch": 3,
    "batch_size": 4,
    "filter_base": 2,
    "unet_depth": 2,
    "convs_per_depth": 2,
    "noise_start_iter": "2",
    "noise_level": "0.1",
}


def balls(seed: int, side: int = CROP) -> np.ndarray:
    """Dark balls, (z, y, x): what there is."""
    axis = np.arange(side)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    volume = np.zeros((side,) * 3)
    for centre in np.random.default_rng(seed).uniform(4, side - 4, (6, 3)):
        volume -= 2.0 * (((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) < 9)
    return volume


def measured(side: int = CROP) -> np.ndarray:
    """Which Fourier voxels (z, 1, x // 2 + 1) tilts from -60 to 60 degrees pass."""
    kz, kx = np.fft.fftfreq(side)[:, None, None], np.fft.rfftfreq(side)[None, None, :]
    return np.abs(kz) <= np.tan(np.deg2rad(60)) * np.abs(kx) + 1e-9


def wedged(seed: int, side: int = CROP) -> np.ndarray:
    """The balls in noise as these tilts see them, on a grey scale of a file: (z, y, x), float32."""
    volume = balls(seed, side) + 0.3 * np.random.default_rng(seed + 1000).standard_normal((side,) * 3)
    seen = np.fft.irfftn(np.fft.rfftn(volume) * measured(side), s=volume.shape, axes=(0, 1, 2))
    return (100 + 7 * seen).astype(np.float32)


def write_subtomograms(folder: Path, count: int = 3, **columns: Any) -> Path:
    """A table of subtomograms with their files; further columns have one value for all."""
    images = []
    (folder / "subtomo").mkdir(parents=True)
    for number in range(count):
        images.append(folder / "subtomo" / f"tomo1_{number:06d}.mrc")
        mrc.write_atomically(images[-1], wedged(number), 10.0)
    star = folder / "subtomo.star"
    more = {label: [value] * count for label, value in columns.items()}
    star.write_text(subtomo_star(images, star, cube_size=CUBE, crop_size=CROP, pixel_size_A=10.0, more=more))
    return star
