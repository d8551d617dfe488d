"""Trainings around the engine of `core.training`: a pair, an ensemble with checkpoints, less memory."""
