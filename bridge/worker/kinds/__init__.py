"""What a worker does for each kind of job: one module a kind, each with a `run`."""
