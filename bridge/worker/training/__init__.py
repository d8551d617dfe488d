"""A training around the engine of `core.training`: several processes."""
