"""`vae.train`: a model of what varies between particles, trained on their images."""

from .job import run

__all__ = ["run"]
