"""`vae.analyze`: what the latents of a finished training say."""

from .job import run

__all__ = ["run"]
