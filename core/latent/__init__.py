"""Networks between images and volumes: encoders, decoders, what they are trained on, and how they are stored."""

from .agreement import shared_variance
from .coordinate import CoordinateModel, whole_disc
from .evaluation import PointDecoder, half_spectrum_points, spectra_of_latents, volumes_of_spectra
from .film import FilmDecoder, feature_places
from .film_model import FilmModel, FilmNetwork, FilmShape
from .film_task import NETWORK, FilmTask, information_of, kept_out
from .linear import LinearModel, joined_scores, linear_of
from .model import Description, ImageEncoder, SliceModel, SteppedModel, VolumeModel, model_of, register
from .places import Ends, Nearness, latent_grid, latent_line, nearness, principal_components
from .score_training import train_on_scores
from .shown_images import ImagesToLearn, ShownImages

__all__ = [
    "NETWORK",
    "CoordinateModel",
    "Description",
    "Ends",
    "FilmDecoder",
    "FilmModel",
    "FilmNetwork",
    "FilmShape",
    "FilmTask",
    "ImageEncoder",
    "ImagesToLearn",
    "LinearModel",
    "Nearness",
    "PointDecoder",
    "ShownImages",
    "SliceModel",
    "SteppedModel",
    "VolumeModel",
    "feature_places",
    "half_spectrum_points",
    "information_of",
    "joined_scores",
    "kept_out",
    "latent_grid",
    "latent_line",
    "linear_of",
    "model_of",
    "nearness",
    "principal_components",
    "register",
    "shared_variance",
    "spectra_of_latents",
    "train_on_scores",
    "volumes_of_spectra",
    "whole_disc",
]
