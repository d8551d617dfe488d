"""The daemon process: its socket, who asks what, its health, and its end."""
