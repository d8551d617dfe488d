"""The linear part of heterogeneity: consensus, residuals, the subspace they vary in, and whether it is real."""

from .associations import explained_by_group, explained_by_number, explained_by_view
from .band_grid import BandGrid, SparseSlices, widest_radius
from .consensus import Consensus, consensus_in_parts, consensus_of, consensus_sums
from .controls import (
    NULL_FACTOR,
    AgainstNoise,
    low_passed,
    pose_tangents,
    power_within,
    share_within,
    shared_directions,
)
from .fit import ITERATIONS, MODES, Subspace, SubspaceFit, default_radius, posterior
from .images import SeenImages, noise_of_shells, shell_means
from .junk import CLEAR_SPLIT, Split, agreement, agreement_in_parts, split_of
from .neighbours import NEIGHBOURS, local_volume, nearest
from .parts import Parts, whole
from .repair import Repaired, repair_in_parts
from .scores import LinearScorer, Scores

__all__ = [
    "CLEAR_SPLIT",
    "ITERATIONS",
    "MODES",
    "NEIGHBOURS",
    "NULL_FACTOR",
    "AgainstNoise",
    "BandGrid",
    "Consensus",
    "LinearScorer",
    "Parts",
    "Repaired",
    "Scores",
    "SeenImages",
    "SparseSlices",
    "Split",
    "Subspace",
    "SubspaceFit",
    "agreement",
    "agreement_in_parts",
    "consensus_in_parts",
    "consensus_of",
    "consensus_sums",
    "default_radius",
    "explained_by_group",
    "explained_by_number",
    "explained_by_view",
    "local_volume",
    "low_passed",
    "nearest",
    "noise_of_shells",
    "pose_tangents",
    "posterior",
    "power_within",
    "repair_in_parts",
    "share_within",
    "shared_directions",
    "shell_means",
    "split_of",
    "whole",
    "widest_radius",
]
