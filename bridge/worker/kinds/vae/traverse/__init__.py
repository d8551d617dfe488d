"""`vae.traverse`: volumes along a way through the latent space."""

from .job import run

__all__ = ["run"]
