"""The linear part of heterogeneity: consensus, residuals, the subspace they vary in, and whether it is real."""

from .band_grid import BandGrid, SparseSlices
from .consensus import Consensus, consensus_of, consensus_sums
from .fit import ITERATIONS, MODES, Subspace, SubspaceFit, default_radius, posterior
from .images import SeenImages, noise_of_shells, shell_means
from .scores import LinearScorer, Scores

__all__ = [
    "ITERATIONS",
    "MODES",
    "BandGrid",
    "Consensus",
    "LinearScorer",
    "Scores",
    "SeenImages",
    "SparseSlices",
    "Subspace",
    "SubspaceFit",
    "consensus_of",
    "consensus_sums",
    "default_radius",
    "noise_of_shells",
    "posterior",
    "shell_means",
]
