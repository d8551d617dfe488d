"""Tomograms: the missing wedge, and its correction."""

from .deconvolution import (
    BlockDeconvolution,
    DeconvolutionFilter,
    ctf_curve,
    deconvolution_blocks,
    deconvolution_weight,
    deconvolved,
    filtered_by,
    wiener_curve,
)
from .empty_wedge import WedgeEvidence, angular_power, wedge_evidence
from .low_band import CoarseGrid, coarse_grid, coarsened, interpolated, remainder_weight
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
from .positions import AXES, NoPosition, Positions, allowed_centres, drawn_positions
from .resampling import AxisPlan, axis_plan, resampled, resampled_along, resampled_by_plan
from .volume_blocks import VolumeBlock, block_count, blocks, fast_length, mirrored_places
from .wedge import Wedge, filtered, frequencies, wedge_weight

__all__ = [
    "AXES",
    "AxisPlan",
    "BlockDeconvolution",
    "CoarseGrid",
    "DeconvolutionFilter",
    "NoPosition",
    "Orientation",
    "Positions",
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
    "coarse_grid",
    "coarsened",
    "ctf_curve",
    "deconvolution_blocks",
    "deconvolution_weight",
    "deconvolved",
    "distinct",
    "drawn_positions",
    "fast_length",
    "filtered",
    "filtered_by",
    "frequencies",
    "interpolated",
    "keeping",
    "mask_margin",
    "mask_measures",
    "mirrored_places",
    "moving",
    "outline_in_bins",
    "outline_plane",
    "remainder_weight",
    "resampled",
    "resampled_along",
    "resampled_by_plan",
    "upsampled_by_2",
    "wedge_evidence",
    "wedge_weight",
    "wiener_curve",
]
