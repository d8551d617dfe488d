"""Networks between images and volumes: encoders, decoders, what they are trained on, and how they are stored."""

from .model import Description, ImageEncoder, VolumeModel, model_of, register

__all__ = ["Description", "ImageEncoder", "VolumeModel", "model_of", "register"]
