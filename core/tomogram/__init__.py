"""Tomograms: the missing wedge, and its correction."""

from .band import cropped, reduced, restored
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
from .doubled import DoubledViews, View, random_matrices, take, take_turned
from .empty_wedge import WedgeEvidence, angular_power, wedge_evidence
from .ensemble import filled_spread, mean_answer
from .ghost_wedge import DirectionalPower, GhostWedge, SectorRatios
from .glimpse import Glimpse, glimpse_of
from .holdout import SECTOR_DEG, HeldOutScore, end_sectors, filled_agreement, held_out_score, noise_filling
from .kept_out import CubePlaces, CubeShares, all_places, divided_places
from .low_band import CoarseGrid, coarse_grid, coarsened, interpolated, remainder_weight
from .mask import ValueCounts, binned_by_2, mask_margin, mask_measures, outline_in_bins, outline_plane, upsampled_by_2
from .material import (
    SignalEvidence,
    TomogramBlock,
    agreement_of,
    block_of,
    emphasis_of,
    fading,
    joined_gain,
    reduction,
    signal_share,
)
from .network import DIVISOR, TwoHeadUNet
from .orientations import Orientation, all_orientations, by_place, keeping, moving
from .positions import AXES, NoPosition, Positions, allowed_centres, drawn_positions
from .prediction import Answer, WedgeCorrection, answers, corrected, rejoined, residual_share, wiener
from .pretraining import PLAINLY, ScenePractice, ScenesTask
from .resampling import AxisPlan, axis_plan, resampled, resampled_along, resampled_by_plan
from .scale import GreyScale, deviation_scale, normalised, percentile_scale
from .scene import TomogramScene, draw_scene
from .sharpening import sharpening
from .shells import COUNT, WIDTH, CrossPower, Curve, radius, shares, shell_index, shell_means, summed
from .task import NAME, WedgeTask, edge_ramp, new_network, wedge_losses
from .tiles import Box, FinishedSlab, Tiles, tiled_slabs, usual_overlap
from .transfer import ContrastTransfer
from .volume_blocks import VolumeBlock, block_count, blocks, fast_length, mirrored_places
from .wedge import Wedge, filtered, frequencies, wedge_weight

__all__ = [
    "AXES",
    "COUNT",
    "DIVISOR",
    "NAME",
    "PLAINLY",
    "SECTOR_DEG",
    "WIDTH",
    "Answer",
    "AxisPlan",
    "BlockDeconvolution",
    "Box",
    "CoarseGrid",
    "ContrastTransfer",
    "CrossPower",
    "CubePlaces",
    "CubeShares",
    "Curve",
    "DeconvolutionFilter",
    "DirectionalPower",
    "DoubledViews",
    "FinishedSlab",
    "GhostWedge",
    "Glimpse",
    "GreyScale",
    "HeldOutScore",
    "NoPosition",
    "Orientation",
    "Positions",
    "ScenePractice",
    "ScenesTask",
    "SectorRatios",
    "SignalEvidence",
    "Tiles",
    "TomogramBlock",
    "TomogramScene",
    "TwoHeadUNet",
    "ValueCounts",
    "View",
    "VolumeBlock",
    "Wedge",
    "WedgeCorrection",
    "WedgeEvidence",
    "WedgeTask",
    "agreement_of",
    "all_orientations",
    "all_places",
    "allowed_centres",
    "angular_power",
    "answers",
    "axis_plan",
    "binned_by_2",
    "block_count",
    "block_of",
    "blocks",
    "by_place",
    "coarse_grid",
    "coarsened",
    "corrected",
    "cropped",
    "ctf_curve",
    "deconvolution_blocks",
    "deconvolution_weight",
    "deconvolved",
    "deviation_scale",
    "divided_places",
    "draw_scene",
    "drawn_positions",
    "edge_ramp",
    "emphasis_of",
    "end_sectors",
    "fading",
    "fast_length",
    "filled_agreement",
    "filled_spread",
    "filtered",
    "filtered_by",
    "frequencies",
    "glimpse_of",
    "held_out_score",
    "interpolated",
    "joined_gain",
    "keeping",
    "mask_margin",
    "mask_measures",
    "mean_answer",
    "mirrored_places",
    "moving",
    "new_network",
    "noise_filling",
    "normalised",
    "outline_in_bins",
    "outline_plane",
    "percentile_scale",
    "radius",
    "random_matrices",
    "reduced",
    "reduction",
    "rejoined",
    "remainder_weight",
    "resampled",
    "resampled_along",
    "resampled_by_plan",
    "residual_share",
    "restored",
    "shares",
    "sharpening",
    "shell_index",
    "shell_means",
    "signal_share",
    "summed",
    "take",
    "take_turned",
    "tiled_slabs",
    "upsampled_by_2",
    "usual_overlap",
    "wedge_evidence",
    "wedge_losses",
    "wedge_weight",
    "wiener",
    "wiener_curve",
]
