"""The workers: one process per device, what goes to which, and the frames between."""
