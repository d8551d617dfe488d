"""Networks between images and volumes: encoders, decoders, what they are trained on, and how they are stored."""

from .coordinate import CoordinateModel, whole_disc
from .model import Description, ImageEncoder, VolumeModel, model_of, register

__all__ = [
    "CoordinateModel",
    "Description",
    "ImageEncoder",
    "VolumeModel",
    "model_of",
    "register",
    "whole_disc",
]
