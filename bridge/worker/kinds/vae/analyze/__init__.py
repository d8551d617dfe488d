"""`vae.analyze`: what the latents of a finished training say."""

from .job import analysed, run

__all__ = ["analysed", "run"]
