"""Jobs in the worker: what runs them, their files, their output folder, their checkpoints."""
