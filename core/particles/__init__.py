"""Images of particles: their spectra, CTF, poses, and the slices of a volume that they are."""

from .cropping import downsampled_images, downsampled_volume
from .ctf import Ctf, ctf_values, wavelength_A
from .disc import HalfDisc, half_disc
from .slices import FourierGrid, SliceSums, rotations_of_angles, slice_points, volume_of_grid
from .spectra import image_spectra, images_of, shifted, soft_window

__all__ = [
    "Ctf",
    "FourierGrid",
    "HalfDisc",
    "SliceSums",
    "ctf_values",
    "downsampled_images",
    "downsampled_volume",
    "half_disc",
    "image_spectra",
    "images_of",
    "rotations_of_angles",
    "shifted",
    "slice_points",
    "soft_window",
    "volume_of_grid",
    "wavelength_A",
]
