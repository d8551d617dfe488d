"""Watched folders: refinements under configured roots, and an inbox for job files."""
