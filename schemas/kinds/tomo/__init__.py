"""Kinds of jobs on tomograms."""

COMMANDS = "Jobs on tomograms, written as commands."
"""The help of the family's commands; a family without it has none."""
