"""`map.postprocess`: a sharpened map of two half-maps."""

from .job import run

__all__ = ["run"]
