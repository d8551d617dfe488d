"""IsoNet's own files."""
