"""`particles.backproject`: a map and two half-maps of particles whose poses are known."""

from .job import run

__all__ = ["run"]
