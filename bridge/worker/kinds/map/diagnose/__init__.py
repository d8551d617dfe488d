"""`map.diagnose`: how well half-maps are measured by direction, and what a correction did."""

from .job import run

__all__ = ["run"]
