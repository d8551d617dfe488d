"""The executable that RELION calls. Standard library and a few light schemas only."""
