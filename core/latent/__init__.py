"""Networks between images and volumes: encoders, decoders, what they are trained on, and how they are stored."""

from .evaluation import BallPoints, PointDecoder, ball_points, spectra_of_latents, volume_of_values, volumes_of_latents
from .model import Description, ImageEncoder, VolumeModel, model_of, register
from .places import Ends, Nearness, grid, line, nearness, principal_components

__all__ = [
    "BallPoints",
    "Description",
    "Ends",
    "ImageEncoder",
    "Nearness",
    "PointDecoder",
    "VolumeModel",
    "ball_points",
    "grid",
    "line",
    "model_of",
    "nearness",
    "principal_components",
    "register",
    "spectra_of_latents",
    "volume_of_values",
    "volumes_of_latents",
]
