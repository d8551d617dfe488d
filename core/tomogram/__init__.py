"""Tomograms: the missing wedge, and its correction."""

from .empty_wedge import WedgeEvidence, angular_power, wedge_evidence

__all__ = ["WedgeEvidence", "angular_power", "wedge_evidence"]
