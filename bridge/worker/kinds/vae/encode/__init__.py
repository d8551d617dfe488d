"""`vae.encode`: latents of images that a model did not learn from."""

from .job import run

__all__ = ["run"]
