"""The report beside every result: page, figures, readings of numbers, methods text, and a script for ChimeraX."""
