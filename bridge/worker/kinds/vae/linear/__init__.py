"""`vae.linear`: a linear subspace of what varies between particles, and whether it is real."""

from .job import run

__all__ = ["run"]
