"""Networks between images and volumes: encoders, decoders, what they are trained on, and how they are stored."""

from .evaluation import BallPoints, PointDecoder, ball_points, spectra_of_latents, volume_of_values, volumes_of_latents
from .model import Description, ImageEncoder, VolumeModel, model_of, register

__all__ = [
    "BallPoints",
    "Description",
    "ImageEncoder",
    "PointDecoder",
    "VolumeModel",
    "ball_points",
    "model_of",
    "register",
    "spectra_of_latents",
    "volume_of_values",
    "volumes_of_latents",
]
