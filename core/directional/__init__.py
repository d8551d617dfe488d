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
from .quality import DirectionQuality, direction_quality, signal_by_view, smoothing_kernel
from .resolutions import direction_resolutions, resolution_range
from .sampling import DEFAULT_HALF_WIDTH, direction_density, sampling_volume, symmetric_views, view_directions

__all__ = [
    "DEFAULT_HALF_ANGLE_DEG",
    "DEFAULT_HALF_WIDTH",
    "FOURIER_RADIUS",
    "DirectionQuality",
    "DirectionSpread",
    "Form",
    "SamplingCompensation",
    "ShellCaps",
    "cap_sums",
    "cfar",
    "cone_areas",
    "conical_fsc",
    "crossing_radius",
    "direction_density",
    "direction_quality",
    "direction_resolutions",
    "direction_spread",
    "first_judged_shell",
    "fsc3d",
    "judged",
    "resolution_by_direction",
    "resolution_range",
    "sampling_compensation",
    "sampling_volume",
    "signal_by_view",
    "smoothing_kernel",
    "sphericity",
    "squared_chord_limit",
    "symmetric_views",
    "view_density",
    "view_directions",
    "whole_shells",
]
