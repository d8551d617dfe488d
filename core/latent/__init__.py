"""Networks between images and volumes: encoders, decoders, what they are trained on, and how they are stored."""

from .linear import LinearModel
from .model import Description, ImageEncoder, VolumeModel, model_of, register

__all__ = ["Description", "ImageEncoder", "LinearModel", "VolumeModel", "model_of", "register"]
