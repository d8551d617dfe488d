"""Tomograms: the missing wedge, and its correction."""

from .orientations import Orientation, all_orientations, distinct, keeping, moving
from .wedge import Wedge, filtered, frequencies, wedge_weight

__all__ = [
    "Orientation",
    "Wedge",
    "all_orientations",
    "distinct",
    "filtered",
    "frequencies",
    "keeping",
    "moving",
    "wedge_weight",
]
