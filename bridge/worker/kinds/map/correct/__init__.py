"""`map.correct`: two half-maps corrected for directions that are measured badly."""

from .job import run

__all__ = ["run"]
