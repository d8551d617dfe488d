"""Small tomograms and their table, as a user has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import mrcfile
import numpy as np

SHAPE = (20, 28, 32)
ORIGIN = (11.0, 12.0, 13.0)
"""x, y, z, as headers have it."""
PIXEL_A = 10.0


def grains(seed: int = 1, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Smooth noise about a level that is not 0, float32 (z, y, x)."""
    noise = np.fft.rfftn(np.random.default_rng(seed).standard_normal(shape))
    z, y, x = np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), np.fft.rfftfreq(shape[2]), indexing="ij")
    smooth = np.fft.irfftn(noise * np.exp(-40 * (z**2 + y**2 + x**2)), s=shape, axes=(0, 1, 2))
    return (7.0 + 3.0 * smooth / smooth.std()).astype(np.float32)


def write_tomogram(path: Path, volume: np.ndarray, pixel_size_A: float = PIXEL_A) -> Path:
    """A file with a place of its own."""
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(volume)
        file.voxel_size = pixel_size_A
        file.header.origin = ORIGIN
        file.header.nxstart, file.header.nystart, file.header.nzstart = 3, -4, 5
    return path


def write_table(folder: Path, rows: Sequence[Mapping[str, object]], name: str = "tomograms.star") -> Path:
    """A table in IsoNet's dialect, with a comment that is to be kept."""
    labels = list(dict.fromkeys(label for row in rows for label in row))
    lines = ["# made by hand", "data_", "", "loop_", *(f"_{label} #{at}" for at, label in enumerate(labels, 1))]
    lines += [" ".join(str(row.get(label, "None")) for label in labels) for row in rows]
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def tomograms(folder: Path, count: int = 1, **columns: object) -> Path:
    """A table of tomograms `tomo1.mrc` and so on, with a defocus each."""
    rows = []
    for number in range(1, count + 1):
        write_tomogram(folder / f"tomo{number}.mrc", grains(number))
        row = {"rlnIndex": number, "rlnMicrographName": f"tomo{number}.mrc", "rlnPixelSize": PIXEL_A}
        rows.append({**row, "rlnDefocus": 38000.0, **columns})
    return write_table(folder, rows)
