"""Networks between images and volumes: encoders, decoders, what they are trained on, and how they are stored."""

from .agreement import shared_variance
from .coordinate import CoordinateModel, whole_disc
from .film import FilmDecoder, feature_places
from .film_model import FilmModel, FilmNetwork, FilmShape
from .film_task import NETWORK, FilmTask, ImagesToLearn, ShownImages, information_of
from .linear import LinearModel
from .model import Description, ImageEncoder, VolumeModel, model_of, register

__all__ = [
    "NETWORK",
    "CoordinateModel",
    "Description",
    "FilmDecoder",
    "FilmModel",
    "FilmNetwork",
    "FilmShape",
    "FilmTask",
    "ImageEncoder",
    "ImagesToLearn",
    "LinearModel",
    "ShownImages",
    "VolumeModel",
    "feature_places",
    "information_of",
    "model_of",
    "register",
    "shared_variance",
    "whole_disc",
]
