"""All figures of reports, each a function from tensors or numbers to the bytes of a PNG."""

from .amplitudes import amplitude_ratios
from .beside import densities_beside, latents_beside, value_histogram
from .changes import change_map
from .curves import directional_curves, fsc_curves, guinier
from .histograms import resolution_histogram
from .latents import (
    bars,
    latent_histogram,
    latent_map,
    latents_by_cluster,
    latents_by_value,
    neighbour_curves,
    over_epochs,
    variance_explained,
)
from .outlined import marked_sections, outlined_sections
from .particle_tables import ctf_curve, defocus_histogram
from .sections import fsc3d_slices
from .selection import selected_points, shares_of_groups
from .slices import orthoslices, section_rows, spread_slices
from .sphere import resolution_sphere, signal_sphere, view_density
from .strips import difference_strip, volume_strip
from .surfaces import middle_of, picture_strip, section_picture, surface_level, surface_picture
from .training import loss_curve
from .wedge import SeenThrough, shell_curves, wedge_progress, wedge_spectra

__all__ = [
    "SeenThrough",
    "amplitude_ratios",
    "bars",
    "change_map",
    "ctf_curve",
    "defocus_histogram",
    "densities_beside",
    "difference_strip",
    "directional_curves",
    "fsc3d_slices",
    "fsc_curves",
    "guinier",
    "latent_histogram",
    "latent_map",
    "latents_beside",
    "latents_by_cluster",
    "latents_by_value",
    "loss_curve",
    "marked_sections",
    "middle_of",
    "neighbour_curves",
    "orthoslices",
    "outlined_sections",
    "over_epochs",
    "picture_strip",
    "resolution_histogram",
    "resolution_sphere",
    "section_picture",
    "section_rows",
    "selected_points",
    "shares_of_groups",
    "shell_curves",
    "signal_sphere",
    "spread_slices",
    "surface_level",
    "surface_picture",
    "value_histogram",
    "variance_explained",
    "view_density",
    "volume_strip",
    "wedge_progress",
    "wedge_spectra",
]
