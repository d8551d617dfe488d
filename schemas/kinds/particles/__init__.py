"""Kinds of jobs on tables of particles."""

COMMANDS = "Jobs on tables of particles, written as commands."
"""The help of the family's commands; a family without it has none."""
