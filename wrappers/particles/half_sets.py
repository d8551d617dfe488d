"""Half-sets of particles that may be copies of one image, as after symmetry expansion.

Copies of an image in both half-sets make these dependent: the FSC of such halves is too good.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def drawn_half_sets(images: NDArray[np.int64]) -> NDArray[np.int64]:
    """Half-sets 0 and 1 by turns, in the order of the images' first particles; copies of an image stay together.

    Parameters
    ----------
    images
        (N,) which image each particle has.
    """
    _, first, which = np.unique(images, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    half_sets: NDArray[np.int64] = rank[which.ravel()] % 2
    return half_sets


def torn_apart(images: NDArray[np.int64], half_sets: NDArray[np.int64]) -> int:
    """How many images (N,) have copies in both half-sets (N,) of 0 and 1."""
    _, which = np.unique(images, return_inverse=True)
    count = int(which.max(initial=-1)) + 1
    ones = np.bincount(which.ravel(), weights=half_sets, minlength=count)
    return int(np.count_nonzero((ones > 0) & (ones < np.bincount(which.ravel(), minlength=count))))


def said_of_torn(torn: int) -> list[str]:
    """What has to be said where so many images are in both half-sets; nothing where none is."""
    if torn == 0:
        return []
    return [
        f"{torn} images have copies in both half-sets, so these are not independent and their FSC is too good: give "
        "particles whose half-sets were drawn before the symmetry was expanded, or leave them out and draw new ones."
    ]
