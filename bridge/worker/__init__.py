"""The worker process: the only part of `bridge` that may import `core` or torch."""
