"""Submitted jobs and where they are kept."""
