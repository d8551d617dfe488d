"""Tomograms: the missing wedge, and its correction."""

from .orientations import Orientation, all_orientations, distinct, keeping, moving
from .scale import GreyScale, deviation_scale, normalised, percentile_scale
from .tiles import Box, FinishedSlab, Tiles, tiled_slabs, usual_overlap
from .wedge import Wedge, filtered, frequencies, wedge_weight

__all__ = [
    "Box",
    "FinishedSlab",
    "GreyScale",
    "Orientation",
    "Tiles",
    "Wedge",
    "all_orientations",
    "deviation_scale",
    "distinct",
    "filtered",
    "frequencies",
    "keeping",
    "moving",
    "normalised",
    "percentile_scale",
    "tiled_slabs",
    "usual_overlap",
    "wedge_weight",
]
