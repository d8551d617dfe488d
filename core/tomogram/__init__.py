"""Tomograms: the missing wedge, and its correction."""

from .blocks import VolumeBlock, block_count, blocks, fast_length, mirrored_places
from .deconvolution import (
    DeconvolutionFilter,
    ctf_curve,
    deconvolution_blocks,
    deconvolution_weight,
    deconvolved,
    filtered_by,
    wiener_curve,
)
from .mask import (
    ValueCounts,
    binned_by_2,
    mask_margin,
    mask_measures,
    outline_in_bins,
    outline_plane,
    upsampled_by_2,
)
from .orientations import Orientation, all_orientations, distinct, keeping, moving
from .scale import GreyScale, deviation_scale, normalised, percentile_scale
from .tiles import Box, FinishedSlab, Tiles, tiled_slabs, usual_overlap
from .wedge import Wedge, filtered, frequencies, wedge_weight

__all__ = [
    "AXES",
    "Box",
    "DeconvolutionFilter",
    "FinishedSlab",
    "GreyScale",
    "NoPosition",
    "Orientation",
    "Positions",
    "Tiles",
    "ValueCounts",
    "VolumeBlock",
    "Wedge",
    "all_orientations",
    "allowed_centres",
    "binned_by_2",
    "block_count",
    "blocks",
    "ctf_curve",
    "deconvolution_blocks",
    "deconvolution_weight",
    "deconvolved",
    "deviation_scale",
    "distinct",
    "drawn_positions",
    "fast_length",
    "filtered",
    "filtered_by",
    "frequencies",
    "keeping",
    "mask_margin",
    "mask_measures",
    "mirrored_places",
    "moving",
    "normalised",
    "outline_in_bins",
    "outline_plane",
    "padded_length",
    "percentile_scale",
    "resampled",
    "resampled_along",
    "tiled_slabs",
    "upsampled_by_2",
    "usual_overlap",
    "wedge_weight",
    "wiener_curve",
]
