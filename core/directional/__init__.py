"""What depends on direction: the 3DFSC, cFAR, and how densely views sample Fourier space."""

from .area_ratio import DirectionSpread, cfar, cone_areas, direction_spread, first_judged_shell, judged
from .caps import ShellCaps, cap_sums, squared_chord_limit
from .compensation import FOURIER_RADIUS, SamplingCompensation, sampling_compensation, view_density
from .correlation import (
    DEFAULT_HALF_ANGLE_DEG,
    Form,
    conical_fsc,
    crossing_radius,
    fsc3d,
    resolution_by_direction,
    sphericity,
    whole_shells,
)
from .noise_weight import (
    DirectionalSampling,
    fraction_of_signal,
    mean_phase_cosine,
    sampling_from_noise,
    shell_mean,
)
from .resolutions import direction_resolutions, resolution_range
from .sampling import DEFAULT_HALF_WIDTH, direction_density, sampling_volume, symmetric_views, view_directions

__all__ = [
    "DEFAULT_HALF_ANGLE_DEG",
    "DEFAULT_HALF_WIDTH",
    "FOURIER_RADIUS",
    "DirectionSpread",
    "DirectionalSampling",
    "Form",
    "SamplingCompensation",
    "ShellCaps",
    "cap_sums",
    "cfar",
    "cone_areas",
    "conical_fsc",
    "crossing_radius",
    "direction_density",
    "direction_resolutions",
    "direction_spread",
    "first_judged_shell",
    "fraction_of_signal",
    "fsc3d",
    "judged",
    "mean_phase_cosine",
    "resolution_by_direction",
    "resolution_range",
    "sampling_compensation",
    "sampling_from_noise",
    "sampling_volume",
    "shell_mean",
    "sphericity",
    "squared_chord_limit",
    "symmetric_views",
    "view_density",
    "view_directions",
    "whole_shells",
]
