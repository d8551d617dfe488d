"""`vae.volumes`: volumes of latents."""

from .job import run

__all__ = ["run"]
