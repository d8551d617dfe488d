"""Tests of a correction: what it changed, what it brings back, what it makes of nothing."""

from .amplitudes import ShellAmplitudes, amplitudes_by_shell
from .change import POLAR_BINS, power_changed, power_changed_by_measure, power_changed_where, rms_difference
from .controls import corrected_for_control, noise_pair, phase_randomised_pair, power_gain
from .holdout import Cone, HeldOut, degrade, mean_score, score, worst_and_best

__all__ = [
    "POLAR_BINS",
    "Cone",
    "HeldOut",
    "ShellAmplitudes",
    "amplitudes_by_shell",
    "corrected_for_control",
    "degrade",
    "mean_score",
    "noise_pair",
    "phase_randomised_pair",
    "power_changed",
    "power_changed_by_measure",
    "power_changed_where",
    "power_gain",
    "rms_difference",
    "score",
    "worst_and_best",
]
