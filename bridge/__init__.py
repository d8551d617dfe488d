"""The daemon side: server, queue, store, workers and commands."""
