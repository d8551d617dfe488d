"""Tests of a correction: what it changed, what it brings back, what it makes of nothing."""

from .amplitudes import ShellAmplitudes, amplitudes_by_shell
from .change import POLAR_BINS, power_changed, power_changed_by_measure, power_changed_where, rms_difference
from .choice import ConeTrial, cone_trial
from .controls import corrected_for_control, noise_pair, phase_randomised_pair, power_gain
from .holdout import Cone, HeldOut, degrade, mean_score, score, truth_estimate, worst_and_best
from .regions import Regions, regions_of
from .support import Consistency, ConsistencyFinding, ConsistencyLevel, Support, consistency
from .symmetry import ElementFound, SymmetryFound, SymmetryLevel, symmetry_found

__all__ = [
    "POLAR_BINS",
    "Cone",
    "ConeTrial",
    "Consistency",
    "ConsistencyFinding",
    "ConsistencyLevel",
    "ElementFound",
    "HeldOut",
    "Regions",
    "ShellAmplitudes",
    "Support",
    "SymmetryFound",
    "SymmetryLevel",
    "amplitudes_by_shell",
    "cone_trial",
    "consistency",
    "corrected_for_control",
    "degrade",
    "mean_score",
    "noise_pair",
    "phase_randomised_pair",
    "power_changed",
    "power_changed_by_measure",
    "power_changed_where",
    "power_gain",
    "regions_of",
    "rms_difference",
    "score",
    "symmetry_found",
    "truth_estimate",
    "worst_and_best",
]
