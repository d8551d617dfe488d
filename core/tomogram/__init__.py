"""Tomograms: the missing wedge, and its correction."""

from .band import cropped, reduced, restored
from .doubled import View, Views, random_matrices, take, take_turned
from .empty_wedge import WedgeEvidence, angular_power, wedge_evidence
from .holdout import SECTOR_DEG, HeldOutScore, end_sectors, held_out_score
from .material import Block, Evidence, agreement_of, block_of, emphasis_of, joined_gain, reduction
from .network import DIVISOR, TwoHeadUNet
from .orientations import Orientation, all_orientations, distinct, keeping, moving
from .prediction import Correction, answers, corrected, reduced_agreement, rejoined, residual_share, wiener
from .pretraining import Practice, ScenesTask
from .scene import Scene, draw_scene
from .shells import COUNT, WIDTH, CrossPower, Curve, radius, shares, shell_index, shell_means, summed
from .task import NAME, WedgeTask, edge_ramp, new_network, wedge_losses
from .wedge import Wedge, filtered, frequencies, wedge_weight

__all__ = [
    "COUNT",
    "DIVISOR",
    "NAME",
    "SECTOR_DEG",
    "WIDTH",
    "Block",
    "Correction",
    "CrossPower",
    "Curve",
    "Evidence",
    "HeldOutScore",
    "Orientation",
    "Practice",
    "Scene",
    "ScenesTask",
    "TwoHeadUNet",
    "View",
    "Views",
    "Wedge",
    "WedgeEvidence",
    "WedgeTask",
    "agreement_of",
    "all_orientations",
    "angular_power",
    "answers",
    "block_of",
    "corrected",
    "cropped",
    "distinct",
    "draw_scene",
    "edge_ramp",
    "emphasis_of",
    "end_sectors",
    "filtered",
    "frequencies",
    "held_out_score",
    "joined_gain",
    "keeping",
    "moving",
    "new_network",
    "radius",
    "random_matrices",
    "reduced",
    "reduced_agreement",
    "reduction",
    "rejoined",
    "residual_share",
    "restored",
    "shares",
    "shell_index",
    "shell_means",
    "summed",
    "take",
    "take_turned",
    "wedge_evidence",
    "wedge_losses",
    "wedge_weight",
    "wiener",
]
