"""Kinds of jobs on maps and half-maps."""
