"""Kinds of jobs on tomograms."""
