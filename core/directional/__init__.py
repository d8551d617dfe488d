"""What depends on direction: the 3DFSC, cFAR, and how densely views sample Fourier space."""

from .area_ratio import DirectionSpread, cfar, cone_areas, direction_spread, first_judged_shell, judged
from .caps import ShellCaps, cap_sums, squared_chord_limit
from .compensation import FEWEST_SAMPLES, FOURIER_RADIUS, SamplingCompensation, sampling_compensation, view_density
from .correlation import (
    DEFAULT_HALF_ANGLE_DEG,
    Form,
    conical_fsc,
    crossing_radius,
    fsc3d,
    sphericity,
    whole_shells,
)
from .noise_weight import (
    FIRST_SHELL,
    MOST_SIGNAL,
    DirectionalSampling,
    fraction_of_signal,
    mean_phase_cosine,
    sampling_from_noise,
)
from .quality import DirectionQuality, direction_quality, signal_by_view, smoothing_kernel
from .resolutions import HALF_ANGLE_DEG, Directions, by_direction, shells_reached
from .sampling import DEFAULT_HALF_WIDTH, direction_density, sampling_volume, symmetric_views, view_directions

__all__ = [
    "DEFAULT_HALF_ANGLE_DEG",
    "DEFAULT_HALF_WIDTH",
    "FEWEST_SAMPLES",
    "FIRST_SHELL",
    "FOURIER_RADIUS",
    "HALF_ANGLE_DEG",
    "MOST_SIGNAL",
    "DirectionQuality",
    "DirectionSpread",
    "DirectionalSampling",
    "Directions",
    "Form",
    "SamplingCompensation",
    "ShellCaps",
    "by_direction",
    "cap_sums",
    "cfar",
    "cone_areas",
    "conical_fsc",
    "crossing_radius",
    "direction_density",
    "direction_quality",
    "direction_spread",
    "first_judged_shell",
    "fraction_of_signal",
    "fsc3d",
    "judged",
    "mean_phase_cosine",
    "sampling_compensation",
    "sampling_from_noise",
    "sampling_volume",
    "shells_reached",
    "signal_by_view",
    "smoothing_kernel",
    "sphericity",
    "squared_chord_limit",
    "symmetric_views",
    "view_density",
    "view_directions",
    "whole_shells",
]
