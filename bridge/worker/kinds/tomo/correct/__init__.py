"""`tomo.correct`: tomograms corrected for their missing wedge."""

from .job import run

__all__ = ["run"]
