"""Kinds of jobs on tomograms."""

COMMANDS = "Jobs on tomograms: prepare, deconvolve, mask, correct the missing wedge."
"""The help of the family's commands."""
