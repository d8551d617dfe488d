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
from .empty_wedge import WedgeEvidence, angular_power, wedge_evidence
from .mask import ValueCounts, binned_by_2, mask_margin, mask_measures, outline_in_bins, outline_plane, upsampled_by_2
from .orientations import Orientation, all_orientations, distinct, keeping, moving
from .scale import GreyScale, deviation_scale, normalised, percentile_scale
from .tiles import Box, FinishedSlab, Tiles, tiled_slabs, usual_overlap
from .wedge import Wedge, filtered, frequencies, wedge_weight

__all__ = [
    "Box",
    "DeconvolutionFilter",
    "FinishedSlab",
    "GreyScale",
    "Orientation",
    "Tiles",
    "ValueCounts",
    "VolumeBlock",
    "Wedge",
    "WedgeEvidence",
    "all_orientations",
    "angular_power",
    "binned_by_2",
    "block_count",
    "blocks",
    "ctf_curve",
    "deconvolution_blocks",
    "deconvolution_weight",
    "deconvolved",
    "deviation_scale",
    "distinct",
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
    "percentile_scale",
    "tiled_slabs",
    "upsampled_by_2",
    "usual_overlap",
    "wedge_evidence",
    "wedge_weight",
    "wiener_curve",
]
