"""The sample project of the stand-in with another pair of half-maps in its refinement."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryobridge.wrappers.formats import mrc
from cryobridge.wrappers.formats.cs_table import Columns, read_table, write_table

MASKS = ("mask_refine", "mask_fsc", "mask_fsc_auto")


def put_pair(project: Path, half1: Path, half2: Path, mask: Path | None = None) -> None:
    """Let J1 be the refinement of this pair: its half-maps, their mean as its map, and its masks.

    Parameters
    ----------
    mask
        For all three of the volume's masks and for the mask output; those of the sample, which fit a box of 32, stay
        where there is none.
    """
    folder = project / "J1"
    halves = [mrc.read(path) for path in (half1, half2)]
    voxel = halves[0][1].voxel_size_A[0]
    mean = (halves[0][0] + halves[1][0]) / 2
    maps = {"map": mean, "map_sharp": mean, "map_half_A": halves[0][0], "map_half_B": halves[1][0]}
    maps |= {name: mrc.read(mask or folder / f"J1_003_volume_{name}.mrc")[0] for name in MASKS}
    for name, volume in maps.items():
        mrc.write_atomically(folder / f"J1_003_volume_{name}.mrc", volume, voxel)
    mrc.write_atomically(folder / "J1_003_volume_mask.mrc", maps["mask_refine"], voxel)
    for table in ("J1_003_volume.cs", "J1_003_mask.cs"):
        write_table(folder / table, _of_box(read_table(folder / table), len(mean), voxel))


def _of_box(columns: Columns, box: int, voxel_size_A: float) -> Columns:
    changed = dict(columns)
    for name, values in columns.items():
        if name.endswith("/shape"):
            changed[name] = np.full_like(values, box)
        elif name.endswith("/psize_A"):
            changed[name] = np.full_like(values, voxel_size_A)
    return changed
