"""Kinds of jobs on maps and half-maps."""

COMMANDS = "Jobs on half-maps and maps, written as commands."
"""The help of the family's commands; a family without it has none."""
