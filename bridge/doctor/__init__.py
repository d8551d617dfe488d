"""Checks of a set-up and of a refinement's folder, each finding with what to do."""
