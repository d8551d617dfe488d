"""`map.fsc3d`: the Fourier shell correlation of two half-maps by direction."""

from .job import run

__all__ = ["run"]
