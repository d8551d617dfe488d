"""`tomo.refine`: reads subtomograms, trains a network on them by the method that is asked for, writes it."""

from .job import run

__all__ = ["run"]
