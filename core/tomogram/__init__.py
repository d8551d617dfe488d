"""Tomograms: the missing wedge, and its correction."""

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
from .positions import AXES, NoPosition, Positions, allowed_centres, drawn_positions
from .resampling import AxisPlan, axis_plan, resampled, resampled_along, resampled_by_plan
from .scale import GreyScale, deviation_scale, normalised, percentile_scale
from .tiles import Box, FinishedSlab, Tiles, tiled_slabs, usual_overlap
from .volume_blocks import VolumeBlock, block_count, blocks, fast_length, mirrored_places
from .wedge import Wedge, filtered, frequencies, wedge_weight

__all__ = [
    "AXES",
    "AxisPlan",
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
    "WedgeEvidence",
    "all_orientations",
    "allowed_centres",
    "angular_power",
    "axis_plan",
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
    "percentile_scale",
    "resampled",
    "resampled_along",
    "resampled_by_plan",
    "tiled_slabs",
    "upsampled_by_2",
    "usual_overlap",
    "wedge_evidence",
    "wedge_weight",
    "wiener_curve",
]
