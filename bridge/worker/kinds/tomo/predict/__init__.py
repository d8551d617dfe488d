"""`tomo.predict`: fills the missing wedge of tomograms by a network, as the method wants that has trained it."""

from .job import run

__all__ = ["run"]
