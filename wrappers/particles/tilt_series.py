"""Tilt series as Warp and M write them for single-particle programs: an image a row, `rlnGroupName` the particle.

There `rlnCtfBfactor` is -4 times the dose in e/A^2, and `rlnCtfScalefactor` the cosine of the stage's tilt.
"""

from __future__ import annotations

import numpy as np

from .particle_set import TiltColumns
from .relion_rows import RelionRows

_FEWEST_TILTS = 3
"""Groups of ordinary particles have one image of each micrograph by chance, but hardly three and more, all of them."""


def tilt_columns(rows: RelionRows) -> TiltColumns | None:
    """The tilts of a table, or None where it is of ordinary particles.

    `rlnGroupName` may be that of groups of micrographs too: a tilt series has every micrograph once in each group, and
    doses, and scales of at most 1.
    """
    needed = ("rlnGroupName", "rlnMicrographName", "rlnCtfBfactor", "rlnCtfScalefactor")
    if not all(rows.has(label) for label in needed):
        return None
    names, particle = np.unique(np.array(rows.texts("rlnGroupName")), return_inverse=True)
    particle = particle.ravel().astype(np.int64)
    bfactor, scale = rows.numbers("rlnCtfBfactor"), rows.numbers("rlnCtfScalefactor")
    if bfactor is None or scale is None or bool((bfactor > 0).any()) or not bfactor.any() or bool((scale > 1).any()):
        return None
    _, micrograph = np.unique(np.array(rows.texts("rlnMicrographName")), return_inverse=True)
    pairs = np.unique(np.stack([particle, micrograph.ravel()]), axis=1)
    if pairs.shape[1] < rows.count or rows.count < _FEWEST_TILTS * len(names):
        return None
    # By their first image, so that the order of particles is the table's.
    _, first = np.unique(particle, return_index=True)
    rank = np.empty(len(names), np.int64)
    rank[np.argsort(first)] = np.arange(len(names))
    tilt_deg = np.degrees(np.arccos(np.clip(scale, -1.0, 1.0)))
    return TiltColumns(rank[particle], tilt_deg, -bfactor / 4.0)
