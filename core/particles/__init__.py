"""Images of particles: their spectra, CTF, poses, and the slices of a volume that they are."""

from .backprojection import CtfUse, HalfSums, best_regularisation, exposure_weights, spectrum_of_sums, volume_of_sums
from .cropping import downsampled_images, downsampled_volume
from .ctf import Ctf, ctf_values, wavelength_A
from .disc import HalfDisc, half_disc
from .probe import ImageProbe, probed
from .slices import FourierGrid, SliceSums, rotations_of_angles, slice_points, volume_of_grid
from .spectra import image_spectra, images_of, shifted, soft_window

__all__ = [
    "Ctf",
    "CtfUse",
    "FourierGrid",
    "HalfDisc",
    "HalfSums",
    "ImageProbe",
    "SliceSums",
    "best_regularisation",
    "ctf_values",
    "downsampled_images",
    "downsampled_volume",
    "exposure_weights",
    "half_disc",
    "image_spectra",
    "images_of",
    "probed",
    "rotations_of_angles",
    "shifted",
    "slice_points",
    "soft_window",
    "spectrum_of_sums",
    "volume_of_grid",
    "volume_of_sums",
    "wavelength_A",
]
