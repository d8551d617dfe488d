"""Kinds of jobs on heterogeneity: from images of particles to latents, volumes and selections."""

COMMANDS = "Jobs on heterogeneity, written as commands: what moves and what is missing in a set of particles."
"""The help of the family's commands; a family without it has none."""
