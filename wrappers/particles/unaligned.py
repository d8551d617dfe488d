"""What is said of particles whose poses are those that a search begins with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..formats.particles import why_not_aligned


def said_of_unaligned(angles: NDArray[np.float64]) -> list[str]:
    """What has to be said of particles with these rot, tilt, psi (N, 3), as their program has them; often nothing."""
    complaint = why_not_aligned(angles)
    if complaint is None:
        return []
    return [
        f"{complaint[0].upper()}{complaint[1:]}, so they were not aligned in 3D. Their poses are written as they are: "
        "do not reconstruct from them, or search near them."
    ]
