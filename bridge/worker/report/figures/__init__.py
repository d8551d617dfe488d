"""All figures of reports, each a function from tensors or numbers to the bytes of a PNG."""

from .amplitudes import amplitude_ratios
from .changes import change_map
from .curves import directional_curves, fsc_curves, guinier
from .histograms import resolution_histogram
from .particle_tables import ctf_curve, defocus_histogram
from .sections import fsc3d_slices
from .slices import orthoslices, section_rows, spread_slices
from .sphere import resolution_sphere, signal_sphere, view_density
from .training import loss_curve

__all__ = [
    "amplitude_ratios",
    "change_map",
    "ctf_curve",
    "defocus_histogram",
    "directional_curves",
    "fsc3d_slices",
    "fsc_curves",
    "guinier",
    "loss_curve",
    "orthoslices",
    "resolution_histogram",
    "resolution_sphere",
    "section_rows",
    "signal_sphere",
    "spread_slices",
    "view_density",
]
